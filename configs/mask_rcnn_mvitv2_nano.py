"""Mask R-CNN, a small MViTv2 on small pictures, from random weights: trains on a CPU in minutes.

data.train.json=... data.train.images=... data.val.json=... [data.val.images=...]
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from mvit_det.backbone.mvit import variant_keywords

from .finetune_mask_rcnn_mvitv2_t import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))

_CHANNELS = 64  # of the pyramid and the heads, as small as the backbone
model.backbone.out_channels = _CHANNELS
model.proposal_generator.update(batch_size_per_image=128, pre_nms_topk=(500, 500), post_nms_topk=(500, 300))
_heads = model.roi_heads
_heads.batch_size_per_image = 128
_heads.box_head.update(
    input_shape=ShapeSpec(channels=_CHANNELS, height=7, width=7), fc_dims=[4 * _CHANNELS, 4 * _CHANNELS]
)
_heads.box_predictor.input_shape = ShapeSpec(channels=4 * _CHANNELS)
_heads.mask_head.update(
    input_shape=ShapeSpec(channels=_CHANNELS, height=14, width=14), conv_dims=[_CHANNELS] * 5
)

dataloader.train.mapper.augmentations = [
    L(T.ResizeShortestEdge)(short_edge_length=[192, 224, 256, 288], max_size=480, sample_style="choice"),
    L(T.RandomFlip)(),
]
dataloader.test.mapper.augmentations = [L(T.ResizeShortestEdge)(short_edge_length=256, max_size=427)]
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = 2
dataloader.test.num_workers = 0  # on a CPU a process forked here would hold a copy of the memory

optimizer.lr = 1e-3
train.reference_batch_size = 4
train.epochs = 20
train.device = "cpu"
train.amp.enabled = False
train.init_checkpoint = ""
