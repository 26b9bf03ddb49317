"""Selection of region proposals with results of a fixed shape."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mvit_det.export.suppression import select_best
from mvit_det.torchvision.models.rpn import ANCHOR_SIZES, ProposalNetwork, level_anchors


def select_proposals(
    network: ProposalNetwork, maps: list[Tensor], image_sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what :class:`ProposalNetwork` proposes, for all images at once.

    Args:
        network: the region proposal network, in eval mode.
        maps: the levels p2 to p6 of the pyramid, each (N, C, h, w).
        image_sizes: (N, 2), height and width of each image, px.

    Returns:
        boxes (N, P, 4) XYXY in px, best first, and whether each is a proposal, (N, P). The others are
        padding: zeros.
    """
    count = network.pre_nms_top_n()
    cells = network.anchor_generator.cell_anchors
    logits, deltas = network.head(maps)
    levels = [
        _best_of_level(network, *level, count)
        for level in zip(logits, deltas, ANCHOR_SIZES, cells, strict=True)
    ]
    boxes, logits = (torch.stack(values, dim=1) for values in zip(*levels, strict=True))
    valid = boxes.isfinite().all(-1) & logits.isfinite() & (logits.sigmoid() >= network.score_thresh)
    boxes = clip_boxes(boxes, image_sizes)
    valid &= (boxes[..., 2:] > boxes[..., :2]).all(-1)
    logits = logits.where(valid, -math.inf)
    boxes, logits, _ = select_best(boxes, logits, network.nms_thresh, network.post_nms_top_n())
    return boxes, logits > -math.inf


def _best_of_level(
    network: ProposalNetwork, logits: Tensor, deltas: Tensor, stride: int, cell: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return the ``count`` boxes of a level with the highest logits: (N, count, 4) and (N, count).

    If the level has fewer anchors, the rest have a logit of -inf.

    Args:
        network: decodes the deltas.
        logits: (N, A, h, w).
        deltas: (N, 4 * A, h, w).
        stride: px per cell.
        cell: (A, 4), the anchors of a cell.
        count: number of boxes.
    """
    anchors = level_anchors(cell.to(logits.device), stride, logits.shape[-2:])  # (h * w * A, 4)
    logits = logits.permute(0, 2, 3, 1).flatten(1)
    deltas = deltas.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)  # (N, h * w * A, 4)
    # Padding: the level may have fewer than count anchors, and topk returns a fixed number.
    best, index = F.pad(logits, (0, count), value=-math.inf).topk(count)
    index = index.clamp(max=anchors.shape[0] - 1)
    deltas = deltas.gather(1, index[..., None].expand(-1, -1, 4))
    boxes = network.box_coder.decode_single(deltas.flatten(0, 1), anchors[index.flatten()])
    return boxes.reshape(-1, count, 4), best


def clip_boxes(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Clip boxes (N, ..., 4), XYXY in px, to their images of height and width ``image_sizes`` (N, 2)."""
    limits = image_sizes[:, [1, 0, 1, 0]].to(boxes).reshape(-1, *[1] * (boxes.ndim - 2), 4)
    return boxes.clamp(min=0).minimum(limits)
