"""Faster R-CNN, MViTv2-T, 36 epochs: boxes alone."""

from .common.models.faster_rcnn import model
from .mask_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, optimizer, train

dataloader.train.mapper.use_instance_mask = False
