"""Faster R-CNN with a small MViTv2 on small images, on your own data with boxes alone.

The keys are those of mask_rcnn_mvitv2_nano.
"""

from .common.models.mask_head import mask_branch as _mask_branch
from .mask_rcnn_mvitv2_nano import data, dataloader, lr_multiplier, model, optimizer, train

for key in _mask_branch:
    model.roi_heads.pop(key)
dataloader.train.mapper.use_instance_mask = False
dataloader.train.mapper.pop("instance_mask_format")
