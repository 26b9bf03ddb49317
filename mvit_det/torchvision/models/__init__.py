"""Detectors built from torchvision's parts."""
