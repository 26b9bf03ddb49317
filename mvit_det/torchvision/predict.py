"""Prediction with a detector on images and videos."""

from functools import partial
from typing import Any

import torch
from torchvision.models.detection import FasterRCNN
from torchvision.transforms.v2 import functional as F

from mvit_det.report.drawing import RgbImage
from mvit_det.report.predictions import PredictOptions, write_detections
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig, load_detector
from mvit_det.torchvision.engine.lightning_module import MASK_THRESHOLD, prediction_to_results
from mvit_det.torchvision.engine.processes import build_console


def predict(options: PredictOptions, soft_nms: str | None = None) -> None:
    """Detect objects in an image, a folder of images or a video; see :func:`write_detections`.

    Args:
        options: the input, the checkpoint and the output folder.
        soft_nms: a key of :data:`mvit_det.nms.SOFT_NMS`, or None for NMS.

    Raises:
        InputError: if an input cannot be used, in which case nothing is written.
    """
    detector, config = load_detector(options.checkpoint)
    detector.roi_heads.soft_nms = soft_nms
    detector.transform.mask_threshold = MASK_THRESHOLD
    detector.to("cuda" if torch.cuda.is_available() else "cpu")
    write_detections(options, partial(detect, detector, config), config.categories, build_console())


@torch.inference_mode()
def detect(
    detector: FasterRCNN, config: DetectorConfig, image: RgbImage, image_id: int
) -> list[dict[str, Any]]:
    """Return the detections on one (H, W, 3) RGB image as entries of a COCO results file, best first."""
    device = next(detector.parameters()).device
    tensor = F.to_dtype(F.to_image(image), torch.float32, scale=True)
    return prediction_to_results(detector([tensor.to(device)])[0], image_id, config)
