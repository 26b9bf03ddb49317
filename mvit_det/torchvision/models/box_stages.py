"""One stage of box heads: the assignment of objects to boxes, and the refinement of boxes."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou, clip_boxes_to_image


class Stage(NamedTuple):
    """One box head: its layers, the coder of its deltas, and the matcher of boxes and objects."""

    box_head: nn.Module
    predictor: nn.Module
    coder: BoxCoder
    matcher: Matcher


def refine_boxes(
    coder: BoxCoder, deltas: Tensor, boxes: list[Tensor], image_shapes: list[tuple[int, int]]
) -> list[Tensor]:
    """Apply class-agnostic deltas to boxes, and clip them to their images.

    Args:
        coder: decodes the deltas.
        deltas: (R, 4) for the boxes of all images.
        boxes: (R_i, 4) for each image, XYXY in px.
        image_shapes: (height, width) of each image, px.
    """
    refined = coder.decode(deltas, boxes).reshape(-1, 4).split([len(image_boxes) for image_boxes in boxes])
    return [clip_boxes_to_image(b, shape) for b, shape in zip(refined, image_shapes, strict=True)]


def match_boxes(
    matcher: Matcher, boxes: list[Tensor], targets: list[dict[str, Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return, for each image, the labels (R_i,) of its boxes and the boxes (R_i, 4) of the matched objects.

    A box that matches no object has the label 0 and an arbitrary matched box.
    """
    labels, matched_boxes = [], []
    for image_boxes, target in zip(boxes, targets, strict=True):
        truth = target["boxes"].to(image_boxes)
        if not len(truth) or not len(image_boxes):
            labels.append(torch.zeros(len(image_boxes), dtype=torch.int64, device=image_boxes.device))
            matched_boxes.append(image_boxes)
            continue
        index = matcher(box_iou(truth, image_boxes))  # negative where nothing matches
        labels.append(target["labels"][index.clamp(min=0)].where(index >= 0, 0))
        matched_boxes.append(truth[index.clamp(min=0)])
    return labels, matched_boxes
