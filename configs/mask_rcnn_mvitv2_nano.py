"""Mask R-CNN with a small MViTv2 on small images. It trains on a CPU in minutes, from random weights.

Required: data.root=FOLDER
    or data.train.json=... data.train.images=... [data.val.json=... [data.val.images=...]]
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from mvit_det.backbone.mvit import variant_keywords
from mvit_det.detectron2.data.resize import ResizeShortestEdge
from mvit_det.recipes import recipe_for, scaled_long_side

from .finetune_mask_rcnn_mvitv2_t import data, dataloader, lr_multiplier, model, optimizer, train

_recipe = recipe_for("mvitv2_nano")
_channels = _recipe.channels

model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))
model.backbone.out_channels = _channels
model.proposal_generator.update(
    batch_size_per_image=_recipe.rpn_batch_size,
    pre_nms_topk=_recipe.pre_nms_topk,
    post_nms_topk=_recipe.post_nms_topk,
)
model.roi_heads.batch_size_per_image = _recipe.box_batch_size
model.roi_heads.box_head.update(
    input_shape=ShapeSpec(channels=_channels, height=7, width=7), fc_dims=[4 * _channels, 4 * _channels]
)
model.roi_heads.box_predictor.input_shape = ShapeSpec(channels=4 * _channels)
model.roi_heads.mask_head.update(
    input_shape=ShapeSpec(channels=_channels, height=14, width=14), conv_dims=[_channels] * 5
)

dataloader.train.mapper.augmentations = [
    L(ResizeShortestEdge)(
        short_edge_length=list(_recipe.train_short_sides),
        max_size=scaled_long_side(max(_recipe.train_short_sides)),
        sample_style="choice",
    ),
    L(T.RandomFlip)(),
]
dataloader.test.mapper.augmentations = [
    L(ResizeShortestEdge)(short_edge_length=_recipe.short_side, max_size=_recipe.long_side)
]
dataloader.train.total_batch_size = train.reference_batch_size = _recipe.batch_size
dataloader.train.num_workers = 2
dataloader.test.num_workers = 0  # a forked process would hold another copy of the model

optimizer.lr = _recipe.lr
train.epochs = _recipe.epochs
train.device = "cpu"
train.amp.enabled = False
train.init_checkpoint = ""
