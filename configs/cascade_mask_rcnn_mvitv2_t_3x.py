"""Cascade Mask R-CNN, MViTv2-T, 36 epochs. Published: 52.2 box AP, 45.0 mask AP."""

from .common.models.cascade_mask_rcnn import model
from .mask_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, optimizer, train
