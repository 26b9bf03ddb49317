"""Detectron2's box predictor and mask head with losses that do not depend on how a batch is split.

Detectron2 averages these losses over all regions of the pictures that a process holds, so that the
weight of a picture depends on its neighbours. The published models were trained with one picture on
each GPU: there the loss is a mean over pictures of the mean within a picture. The heads here keep to
that for any number of pictures, so that one process, several, and accumulated gradients agree.
"""

import torch
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


def _mean(losses: list[Losses]) -> Losses:
    return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}
