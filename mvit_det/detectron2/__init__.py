"""The Detectron2 integration. Importing it registers the backbones in Detectron2's ``BACKBONE_REGISTRY``."""

import warnings

from mvit_det.dependencies import explain_detectron2
from mvit_det.errors import DependencyError

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
    raise DependencyError(explain_detectron2(error)) from error

__all__ = [
    "MViTBackbone",
    "add_mvit_config",
    "build_mvit_backbone",
    "build_mvit_fpn_backbone",
    "get_config",
]
