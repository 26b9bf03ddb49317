"""The Detectron2 integration. Importing it registers the backbones in Detectron2's ``BACKBONE_REGISTRY``."""

import sys
import warnings
from contextlib import nullcontext

from mvit_det.dependencies import explain_detectron2
from mvit_det.errors import DependencyError, one_line_errors

try:
    with warnings.catch_warnings():
        # Detectron2 raises this warning at import; users cannot act on it.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        from mvit_det.detectron2.lazy_config import get_config
        from mvit_det.detectron2.models.mvit_backbone import MViTBackbone
        from mvit_det.detectron2.models.yacs import (
            add_mvit_config,
            build_mvit_backbone,
            build_mvit_fpn_backbone,
        )
except (ImportError, AttributeError) as error:  # Detectron2 is missing or does not fit another package
    # `python -m mvit_det.detectron2.train` imports this package first, while sys.argv[0] is still "-m".
    is_command = sys.argv[:1] == ["-m"]
    with one_line_errors("mvit_det.detectron2") if is_command else nullcontext():
        raise DependencyError(explain_detectron2(error)) from error

__all__ = [
    "MViTBackbone",
    "add_mvit_config",
    "build_mvit_backbone",
    "build_mvit_fpn_backbone",
    "get_config",
]
