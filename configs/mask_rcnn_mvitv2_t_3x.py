"""Mask R-CNN, MViTv2-T, 36 epochs. Published: 48.3 box AP, 43.8 mask AP."""

from .common.data.coco import dataloader
from .common.models.mask_rcnn import model
from .common.optimizer import optimizer
from .common.schedule import lr_multiplier_36_epochs as lr_multiplier
from .common.train import train

train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_T_in1k.pyth"
