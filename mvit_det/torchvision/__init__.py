"""Detectors built from torchvision and trained with Lightning: everything here installs with pip."""

from mvit_det.torchvision.models.detector import build_detector

__all__ = ["build_detector"]
