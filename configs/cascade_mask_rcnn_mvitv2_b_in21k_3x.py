"""Cascade Mask R-CNN, MViTv2-B from ImageNet-21K, 36 epochs. Published: 54.9 box AP, 47.4 mask AP."""

from .cascade_mask_rcnn_mvitv2_b_3x import dataloader, lr_multiplier, model, optimizer, train

train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_B_in21k.pyth"
