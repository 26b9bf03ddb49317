"""Detectors on torchvision's parts, trained with Lightning: everything that pip alone can run."""

from mvit_det.torchvision.models.detector import build_detector

__all__ = ["build_detector"]
