"""Reads the weight files of several publishers safely, loads them into models, and saves weights."""

from mvit_det.weights.checkpoint import Checkpoint, identify_checkpoint, read_checkpoint
from mvit_det.weights.formats.torchvision import from_our_names as to_torchvision
from mvit_det.weights.formats.torchvision import to_our_names as to_detectron2
from mvit_det.weights.load import load_all_weights, load_checkpoint, load_weights
from mvit_det.weights.load_report import LoadReport
from mvit_det.weights.published import PUBLISHED
from mvit_det.weights.save import save_for_detectron2, save_weights
from mvit_det.weights.sources import local_file

__all__ = [
    "PUBLISHED",
    "Checkpoint",
    "LoadReport",
    "identify_checkpoint",
    "load_all_weights",
    "load_checkpoint",
    "load_weights",
    "local_file",
    "read_checkpoint",
    "save_for_detectron2",
    "save_weights",
    "to_detectron2",
    "to_torchvision",
]
