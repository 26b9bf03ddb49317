"""Mask R-CNN, MViTv2-B, 36 epochs."""

from mvit_det.backbone.mvit import variant_keywords

from .mask_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_b"))
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_B_in1k.pyth"
