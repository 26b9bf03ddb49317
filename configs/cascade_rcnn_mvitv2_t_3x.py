"""Cascade R-CNN, MViTv2-T, 36 epochs: boxes alone."""

from .common.models.cascade_rcnn import model
from .faster_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, optimizer, train
