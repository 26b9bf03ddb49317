"""Detectron2's heads, but with losses that do not depend on how a batch is split, and norms in float32.

Detectron2 averages these losses over all regions of the pictures that a process holds, so that the
weight of a picture depends on its neighbours. The published models were trained with one picture on
each GPU: there the loss is a mean over pictures of the mean within a picture. The heads here keep to
that for any number of pictures, so that one process, several, and accumulated gradients agree.
"""

import torch
from detectron2.layers.batch_norm import NaiveSyncBatchNorm
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, MaskRCNNConvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_loss
from detectron2.structures import Instances
from torch import Tensor

Losses = dict[str, Tensor]


class BoxPredictor(FastRCNNOutputLayers):
    """``FastRCNNOutputLayers`` whose losses are means over pictures."""

    def losses(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]) -> Losses:
        """Return ``loss_cls`` and ``loss_box_reg``.

        Args:
            predictions: scores (R, K + 1) and box deltas (R, 4 K), or (R, 4), of all regions.
            proposals: the regions of each picture, in the same order.
        """
        counts = [len(regions) for regions in proposals]
        if len(set(counts)) == 1:  # the mean over regions is the same, in fewer calls
            return super().losses(predictions, proposals)
        scores, deltas = (prediction.split(counts) for prediction in predictions)
        pictures = zip(scores, deltas, proposals, strict=True)
        return _mean([super(BoxPredictor, self).losses((s, d), [regions]) for s, d, regions in pictures])


class MaskHead(MaskRCNNConvUpsampleHead):
    """``MaskRCNNConvUpsampleHead`` whose loss is a mean over pictures."""

    def forward(self, x: Tensor, instances: list[Instances]) -> Losses | list[Instances]:
        """Return ``loss_mask`` in training, else the instances with their masks.

        Args:
            x: (R, C, 14, 14) features of all regions.
            instances: the regions of each picture, in the same order.
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
    """Batch norm over the regions of all processes, in float32; a process may hold none."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, stats_mode="N")  # weighs a process by its regions

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (R, C, H, W)."""
        return super().forward(x.float()).to(x.dtype)


def _mean(losses: list[Losses]) -> Losses:
    return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}
