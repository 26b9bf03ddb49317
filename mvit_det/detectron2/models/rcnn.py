"""Detectron2's R-CNN with the layers that compute it faster on a CPU."""

from typing import Any

import torch
from detectron2 import layers
from detectron2.layers import ROIAlign
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
from detectron2.structures import Boxes
from torch import Tensor

from mvit_det.ops.convolution import conv2d, is_supported, use_fast_convolutions
from mvit_det.ops.native.roi_align import native_roi_align
from mvit_det.ops.roi_align import has_native_roi_align


class RCNN(GeneralizedRCNN):
    """``GeneralizedRCNN`` whose convolutions, in float32, and RoIAlign run as our kernels on a CPU.

    Modules, parameters and results are the same. Detectron2 computes what our kernels do not support.

    Args:
        **kwargs: keywords of ``GeneralizedRCNN``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        use_fast_convolutions(self)
        for module in self.modules():
            if type(module) is layers.Conv2d and is_supported(module):
                module.__class__ = Conv2d
            elif type(module) is ROIPooler and _is_supported(module):
                module.__class__ = RegionPooler
            elif type(module) is KRCNNConvDeconvUpsampleHead:
                module.__class__ = KeypointHead


class Conv2d(layers.Conv2d):
    """``detectron2.layers.Conv2d`` that computes :func:`mvit_det.ops.convolution.conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        x = conv2d(x, self.weight, self.bias)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)


class RegionPooler(ROIPooler):
    """``ROIPooler`` that pools from all levels at once."""

    def forward(self, x: list[Tensor], box_lists: list[Boxes]) -> Tensor:
        """Return features (R, C, output_size, output_size) for the boxes of all images.

        Args:
            x: the levels, each (N, C, h, w).
            box_lists: the boxes of each image.
        """
        # Detectron2 also refuses boxes that are not of these images.
        if not box_lists or len(box_lists) != len(x[0]) or not has_native_roi_align(x):
            return super().forward(x, box_lists)
        boxes = Boxes.cat(box_lists).tensor
        counts = torch.tensor([len(image_boxes) for image_boxes in box_lists])
        levels = assign_boxes_to_levels(
            box_lists, self.min_level, self.max_level, self.canonical_box_size, self.canonical_level
        )
        scales = [pooler.spatial_scale for pooler in self.level_poolers]
        image_index = torch.repeat_interleave(counts)
        return native_roi_align(x, boxes, image_index, levels, scales, self.output_size[0])


class KeypointHead(KRCNNConvDeconvUpsampleHead):
    """``KRCNNConvDeconvUpsampleHead`` whose input may be channels-last."""

    def layers(self, x: Tensor) -> Tensor:
        return super().layers(x).contiguous()  # Detectron2 views the result as (N, keypoints, cells)


def _is_supported(pooler: ROIPooler) -> bool:
    """Return whether a pooler has square outputs, and aligned samples, as many as a box needs."""
    height, width = pooler.output_size
    return height == width and all(
        isinstance(level, ROIAlign) and level.aligned and level.sampling_ratio == 0
        for level in pooler.level_poolers
    )
