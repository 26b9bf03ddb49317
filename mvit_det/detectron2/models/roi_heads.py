"""Detectron2's box and mask heads with losses that are means over images, and batch norm in float32.

Detectron2 averages a loss over all regions of the images in a process, so that the weight of an image depends
on how many regions the other images have. The published models were trained with one image per GPU, where the
loss is the mean over images of the mean within an image. These heads compute that mean for any number of
images, so that one process, several processes and accumulated gradients give the same weights.
"""

import torch
from detectron2.layers.batch_norm import NaiveSyncBatchNorm
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, MaskRCNNConvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_loss
from detectron2.structures import Instances
from torch import Tensor

Losses = dict[str, Tensor]


class BoxPredictor(FastRCNNOutputLayers):
    """``FastRCNNOutputLayers`` whose losses are means over images."""

    def losses(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]) -> Losses:
        """Return ``loss_cls`` and ``loss_box_reg``.

        Args:
            predictions: for all R regions and K classes, scores (R, K + 1) and box deltas (R, 4 K), or
                (R, 4) if they are class-agnostic.
            proposals: the regions of each image, in the same order.
        """
        counts = [len(regions) for regions in proposals]
        # With as many regions in each image, the mean over all regions is the same, unless the federated loss
        # samples the classes of each image.
        if len(set(counts)) == 1 and not self.use_fed_loss:
            return super().losses(predictions, proposals)
        scores, deltas = (prediction.split(counts) for prediction in predictions)
        images = zip(scores, deltas, proposals, strict=True)
        return _mean([super(BoxPredictor, self).losses((s, d), [regions]) for s, d, regions in images])

    def get_fed_loss_classes(
        self, gt_classes: Tensor, num_fed_loss_classes: int, num_classes: int, weight: Tensor
    ) -> Tensor:
        """Return the classes of the federated loss, which are all if there are fewer than are asked for.

        Args:
            gt_classes: (R,) class of each region; ``num_classes`` is the background.
            num_fed_loss_classes: number of classes: those of the regions, and others that are drawn.
            num_classes: number of classes of the data set.
            weight: (num_classes,) weights of the classes in the drawing.
        """
        present = gt_classes.unique()
        can_be_drawn = weight > 0
        can_be_drawn[present[present < num_classes]] = False
        limit = len(present) + int(can_be_drawn.sum())
        classes: Tensor = super().get_fed_loss_classes(
            gt_classes, min(num_fed_loss_classes, limit), num_classes, weight
        )
        return classes


class MaskHead(MaskRCNNConvUpsampleHead):
    """``MaskRCNNConvUpsampleHead`` whose loss is a mean over images."""

    def forward(self, x: Tensor, instances: list[Instances]) -> Losses | list[Instances]:
        """Return ``loss_mask`` in training, or else the instances with their masks.

        Args:
            x: features of all regions, (R, C, 14, 14).
            instances: the regions of each image, in the same order.
        """
        if not self.training:
            return super().forward(x, instances)
        logits = self.layers(x).split([len(regions) for regions in instances])
        return _mean(
            [
                {"loss_mask": mask_rcnn_loss(part, [regions], self.vis_period) * self.loss_weight}
                for part, regions in zip(logits, instances, strict=True)
            ]
        )


class RegionBatchNorm(NaiveSyncBatchNorm):
    """Batch norm over the regions of all processes, in float32. A process may have no regions."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, stats_mode="N")  # weights each process by its number of regions

    def forward(self, x: Tensor) -> Tensor:
        """Normalize features of shape (R, C, H, W)."""
        return super().forward(x.float()).to(x.dtype)


def _mean(losses: list[Losses]) -> Losses:
    return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}
