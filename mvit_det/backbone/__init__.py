"""MViT in plain torch; knows no detection framework."""

from mvit_det.backbone.classifier import MViTClassifier, build_classifier
from mvit_det.backbone.mvit import MViT, build_mvit
from mvit_det.backbone.variants import VARIANTS

__all__ = ["VARIANTS", "MViT", "MViTClassifier", "build_classifier", "build_mvit"]
