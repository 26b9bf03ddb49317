"""Cascade Mask R-CNN, MViTv2-H, large-scale jittering, 36 epochs. Published: 56.1 box AP, 48.5 mask AP."""

from mvit_det.backbone.mvit import variant_keywords

from .cascade_mask_rcnn_mvitv2_b_in21k_3x import lr_multiplier, model, optimizer, train
from .common.data.coco_lsj import dataloader

model.backbone.bottom_up.update(variant_keywords("mvitv2_h"))
model.backbone.bottom_up.recompute = "block"
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_H_in21k.pyth"
