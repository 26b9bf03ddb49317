"""MViT backbones for object detection; this module needs torch and nothing else."""

from mvit_det.backbone import VARIANTS, MViT, MViTClassifier, build_classifier, build_mvit
from mvit_det.errors import InputError

__all__ = ["VARIANTS", "InputError", "MViT", "MViTClassifier", "build_classifier", "build_mvit"]
__version__ = "0.1.0"
