"""The mask head, a part of ``roi_heads``: four convolutions, an upsampling one, and a mask per class."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from mvit_det.detectron2.models.roi_heads import MaskHead

from .faster_rcnn import roi_pooler

mask_branch = dict(
    mask_in_features=["p2", "p3", "p4", "p5"],
    mask_pooler=roi_pooler(14),
    mask_head=L(MaskHead)(
        input_shape=ShapeSpec(channels=256, width=14, height=14),
        conv_dims=[256, 256, 256, 256, 256],
        conv_norm="",
        num_classes="${..num_classes}",
    ),
)
