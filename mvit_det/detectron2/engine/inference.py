"""Inference with a Detectron2 model on one image."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mvit_det.detectron2.data.mapper import to_pixels
from mvit_det.report.predictions import Entries


@torch.inference_mode()
def detect_objects(
    model: nn.Module,
    mapper: DatasetMapper,
    category_ids: Sequence[int],
    image: NDArray[np.uint8],
    image_id: int,
) -> Entries:
    """Return the detections in one image as COCO results entries, highest score first.

    Args:
        model: a Detectron2 detector in evaluation mode.
        mapper: the mapper of the test data loader, which sets the channel order and the size of the input.
        category_ids: the category id of each class, in the order of the model's classes.
        image: (H, W, 3) RGB.
        image_id: the ``image_id`` of the entries.
    """
    pixels = T.AugInput(to_pixels(Image.fromarray(image), mapper.image_format))
    mapper.augmentations(pixels)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.image.transpose(2, 0, 1)))
    height, width = image.shape[:2]
    detections = model([{"image": tensor, "height": height, "width": width}])[0]["instances"]
    entries = instances_to_coco_json(detections.to("cpu"), image_id)
    return [entry | {"category_id": category_ids[entry["category_id"]]} for entry in entries]
