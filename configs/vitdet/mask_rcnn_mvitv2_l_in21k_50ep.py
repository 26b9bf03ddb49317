"""Mask R-CNN, MViTv2-L, ViTDet's recipe, 50 epochs."""

from mvit_det.backbone.mvit import variant_keywords

from ..common.schedule import STEPS_50_EPOCHS
from ..common.schedule import lr_multiplier_50_epochs as lr_multiplier
from .mask_rcnn_mvitv2_b_in21k_100ep import dataloader, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_l"))
lr_multiplier.warmup_length /= 2  # 125 steps
train.max_iter = STEPS_50_EPOCHS
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_L_in21k.pyth"
