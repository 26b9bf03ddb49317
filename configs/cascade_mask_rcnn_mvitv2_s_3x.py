"""Cascade Mask R-CNN, MViTv2-S, 36 epochs. Published: 53.2 box AP, 46.0 mask AP."""

from mvit_det.backbone.mvit import variant_keywords

from .cascade_mask_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_s"))
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_S_in1k.pyth"
