"""Draw training samples as the model receives them."""

from collections.abc import Mapping

import numpy as np
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, PolygonMasks
from numpy.typing import NDArray

from mvit_det.detectron2.data.train_loader import Sample
from mvit_det.report.drawing import draw_objects, enlarge


def draw_sample(sample: Sample, image_format: str, names: Mapping[int, str]) -> NDArray[np.uint8]:
    """Draw the boxes, classes and masks of a training sample on its image, which is enlarged if it is small.

    Args:
        sample: the output of Detectron2's training mapper: ``image`` is (C, H, W) in 0..255;
            ``instances`` has boxes, classes and optionally masks.
        image_format: channel order of ``image``: the mapper's ``image_format``, such as ``"BGR"``.
        names: label -> name. Labels count from 1.

    Returns:
        (H, W, 3) RGB image.
    """
    pixels = convert_image_to_rgb(sample["image"].permute(1, 2, 0), image_format)
    image = np.ascontiguousarray(pixels.clip(0, 255), np.uint8)
    objects = sample["instances"]
    boxes, labels = objects.gt_boxes.tensor.numpy(), objects.gt_classes.numpy() + 1
    masks = None
    if objects.has("gt_masks"):
        gt_masks = objects.gt_masks
        if isinstance(gt_masks, PolygonMasks):
            gt_masks = BitMasks.from_polygon_masks(gt_masks, *image.shape[:2])
        masks = map(enlarge, gt_masks.tensor.numpy())
    enlarged = enlarge(image)
    zoom = enlarged.shape[0] // image.shape[0]
    return draw_objects(enlarged, boxes * zoom, masks, labels, names)
