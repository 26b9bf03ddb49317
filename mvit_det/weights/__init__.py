"""Published and own weights: read safely, given our names, loaded into a model, written."""

from mvit_det.weights.checkpoint import Checkpoint, read_checkpoint
from mvit_det.weights.formats.detectors import to_detectron2, to_torchvision
from mvit_det.weights.load import LoadReport, load_all_weights, load_checkpoint, load_weights
from mvit_det.weights.reading.download import local_file
from mvit_det.weights.save import save_for_detectron2, save_weights

__all__ = [
    "Checkpoint",
    "LoadReport",
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
