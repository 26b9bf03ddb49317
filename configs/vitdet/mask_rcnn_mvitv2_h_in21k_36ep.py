"""Mask R-CNN, MViTv2-H, ViTDet's recipe, 36 epochs."""

from mvit_det.backbone.mvit import variant_keywords

from ..common.schedule import STEPS_36_EPOCHS
from ..common.schedule import lr_multiplier_36_epochs as lr_multiplier
from .mask_rcnn_mvitv2_b_in21k_100ep import dataloader, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_h"))
model.backbone.bottom_up.recompute = "block"
optimizer.lr = 1.6e-4
train.max_iter = STEPS_36_EPOCHS
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_H_in21k.pyth"
