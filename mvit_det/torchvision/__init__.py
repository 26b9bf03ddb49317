"""The torchvision integration: detectors built from torchvision's components and trained with Lightning."""

from mvit_det.torchvision.models.detector import build_detector

__all__ = ["build_detector"]
