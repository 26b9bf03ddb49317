"""MViT backbones for object detection.

Importing this package imports nothing else; each public name loads when it is first used. ``Detector``,
``train`` and ``evaluate`` need the packages of the extra ``torchvision``, the others only torch. Exported
detectors need neither; see :mod:`mvit_det.runtime`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mvit_det.backbone.classifier import MViTClassifier, build_classifier
    from mvit_det.backbone.mvit import MViT, build_mvit
    from mvit_det.backbone.variants import VARIANTS
    from mvit_det.cli.python_api import evaluate, train
    from mvit_det.errors import InputError
    from mvit_det.torchvision.inference import Detector

__all__ = [
    "VARIANTS",
    "Detector",
    "InputError",
    "MViT",
    "MViTClassifier",
    "build_classifier",
    "build_mvit",
    "evaluate",
    "train",
]
__version__ = "0.1.0"

_MODULES = {
    "VARIANTS": "mvit_det.backbone.variants",
    "Detector": "mvit_det.torchvision.inference",
    "InputError": "mvit_det.errors",
    "MViT": "mvit_det.backbone.mvit",
    "MViTClassifier": "mvit_det.backbone.classifier",
    "build_classifier": "mvit_det.backbone.classifier",
    "build_mvit": "mvit_det.backbone.mvit",
    "evaluate": "mvit_det.cli.python_api",
    "train": "mvit_det.cli.python_api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'mvit_det' has no attribute {name!r}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mvit_det"):
            raise
        from mvit_det.dependencies import explain_missing_module
        from mvit_det.errors import DependencyError

        extra = "torch" if _MODULES[name].startswith("mvit_det.backbone") else "torchvision"
        raise DependencyError(explain_missing_module(error, extra)) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
