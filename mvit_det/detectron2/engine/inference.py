"""Inference with a Detectron2 model on images."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import supervision as sv
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from PIL import Image
from torch import nn

from mvit_det.data.frames import Frame
from mvit_det.detectron2.data.mapper import to_pixels


@torch.inference_mode()
def detect_frames(
    model: nn.Module, mapper: DatasetMapper, category_ids: Sequence[int], frames: Iterable[Frame]
) -> Iterator[tuple[Frame, sv.Detections]]:
    """Yield images with their detections, highest score first.

    Args:
        model: a Detectron2 detector in evaluation mode.
        mapper: the mapper of the test data loader, which sets the channel order and the size of the input.
        category_ids: the category id of each class, in the order of the model's classes. They are the class
            ids of the detections.
        frames: the images.
    """
    ids = np.array(category_ids, int)
    for frame in frames:
        instances = model([_to_input(mapper, frame)])[0]["instances"]
        yield frame, _to_detections(instances.to("cpu"), ids)


def _to_input(mapper: DatasetMapper, frame: Frame) -> dict[str, Any]:
    pixels = T.AugInput(to_pixels(Image.fromarray(frame.image), mapper.image_format))
    mapper.augmentations(pixels)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.image.transpose(2, 0, 1)))
    height, width = frame.image.shape[:2]
    return {"image": tensor, "height": height, "width": width}


def _to_detections(instances: Any, category_ids: Any) -> sv.Detections:
    return sv.Detections(
        xyxy=instances.pred_boxes.tensor.numpy(),
        mask=instances.pred_masks.numpy() if instances.has("pred_masks") else None,
        confidence=instances.scores.numpy(),
        class_id=category_ids[instances.pred_classes.numpy()],
    )
