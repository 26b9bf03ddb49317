"""The region proposal network: its anchors, its losses, and the selection of proposals."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import batched_nms, clip_boxes_to_image

ANCHOR_SIZES = {4: 32, 8: 64, 16: 128, 32: 256, 64: 512}  # stride of a level -> side of its anchors, px
ASPECT_RATIOS = (0.5, 1.0, 2.0)  # height / width


class Anchors(AnchorGenerator):
    """Anchors as in Detectron2: centered on multiples of a level's stride, and not rounded.

    torchvision's own generator infers the strides from the image size, which gives wrong strides for levels
    with an odd side.
    """

    def __init__(self) -> None:
        super().__init__(tuple((side,) for side in ANCHOR_SIZES.values()), ASPECT_RATIOS)

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Return the (A, 4) anchors of a level, centered on the origin, XYXY in px."""
        anchors = []
        for side in scales:
            for ratio in aspect_ratios:
                width = math.sqrt(side**2 / ratio)
                height = ratio * width
                anchors.append([-width / 2, -height / 2, width / 2, height / 2])
        return torch.tensor(anchors, dtype=dtype, device=device)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors of all levels for each image: (A, 4) XYXY in px, float32, in row-major order."""
        levels = zip(self.cell_anchors, ANCHOR_SIZES, feature_maps, strict=True)
        anchors = [
            level_anchors(cell.to(level.device), stride, level.shape[-2:]) for cell, stride, level in levels
        ]
        return [torch.cat(anchors)] * len(image_list.image_sizes)


def level_anchors(cell: Tensor, stride: int, shape: Sequence[int]) -> Tensor:
    """Return the anchors of a level of (height, width) ``shape``: (h * w * A, 4) XYXY in px, row-major.

    Args:
        cell: (A, 4), the anchors of a cell, centered on the origin.
        stride: px per cell.
        shape: height and width, in cells.
    """
    y, x = (stride * torch.arange(side, device=cell.device) for side in shape)
    centers = torch.cartesian_prod(y, x)[:, None, [1, 0, 1, 0]]  # (h * w, 1, 4)
    return (centers + cell).flatten(0, 1)


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's region proposal network, but with Detectron2's losses and selection of proposals.

    It ranks proposals by their logits, because probabilities saturate at 1, and keeps small proposals.

    Args:
        plain: torchvision's network, whose modules and settings this object reuses.
    """

    def __init__(self, plain: RegionProposalNetwork) -> None:
        super().__init__(
            plain.anchor_generator,
            plain.head,
            plain.proposal_matcher.high_threshold,
            plain.proposal_matcher.low_threshold,
            plain.fg_bg_sampler.batch_size_per_image,
            plain.fg_bg_sampler.positive_fraction,
            plain._pre_nms_top_n,
            plain._post_nms_top_n,
            plain.nms_thresh,
            plain.score_thresh,
        )

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of objectness (cross-entropy) and of box deltas (L1) of sampled anchors.

        Both are sums, divided by the number of images and by the number of anchors to sample from each. The
        result is a mean over images even if fewer anchors can be sampled from some of them.

        Args:
            objectness: logits of the anchors of all images, N * A elements.
            pred_bbox_deltas: (N * A, 4).
            labels: (A,) for each image: 1 for an object, 0 for background, -1 for anchors that are ignored.
            regression_targets: (A, 4) for each image.
        """
        positive, negative = (torch.cat(masks).bool() for masks in self.fg_bg_sampler(labels))
        sampled = positive | negative
        normalizer = self.fg_bg_sampler.batch_size_per_image * len(labels)
        loss_objectness = F.binary_cross_entropy_with_logits(
            objectness.flatten()[sampled], torch.cat(labels)[sampled], reduction="sum"
        )
        targets = torch.cat(regression_targets)[positive]
        loss_box_reg = F.l1_loss(pred_bbox_deltas[positive], targets, reduction="sum")
        return loss_objectness / normalizer, loss_box_reg / normalizer

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the proposals of each image, (P, 4) XYXY in px, and their logits, (P,), best first.

        Args:
            proposals: (N, A, 4) XYXY in px, one for each anchor.
            objectness: logits of the proposals, N * A elements.
            image_shapes: (height, width) of each image, px.
            num_anchors_per_level: how many of the A anchors belong to each level.
        """
        logits = objectness.detach().reshape(len(image_shapes), -1)
        top = self._get_top_n_idx(logits, num_anchors_per_level)  # (N, P)
        counts = torch.tensor(num_anchors_per_level, device=top.device)
        levels = torch.repeat_interleave(counts)  # (A,)
        selected = [
            self._select(boxes[index], image_logits[index], levels[index], shape)
            for boxes, image_logits, index, shape in zip(proposals, logits, top, image_shapes, strict=True)
        ]
        return [boxes for boxes, _ in selected], [scores for _, scores in selected]

    def _select(
        self, boxes: Tensor, logits: Tensor, levels: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return the proposals of one image that are valid and survive non-maximum suppression."""
        valid = boxes.isfinite().all(1) & logits.isfinite() & (logits.sigmoid() >= self.score_thresh)
        boxes = clip_boxes_to_image(boxes, shape)
        valid &= (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, logits, levels = boxes[valid], logits[valid], levels[valid]
        kept = batched_nms(boxes, logits, levels, self.nms_thresh)[: self.post_nms_top_n()]
        return boxes[kept], logits[kept]
