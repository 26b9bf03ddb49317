"""Detectors built from the parts of torchvision."""
