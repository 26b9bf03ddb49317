"""Cascade Mask R-CNN, MViTv2-L, large-scale jittering, 50 epochs. Published: 55.8 box AP, 48.3 mask AP."""

from mvit_det.backbone.mvit import variant_keywords

from .cascade_mask_rcnn_mvitv2_b_in21k_3x import model, optimizer, train
from .common.data.coco_lsj import dataloader
from .common.schedule import STEPS_50_EPOCHS
from .common.schedule import lr_multiplier_50_epochs as lr_multiplier

model.backbone.bottom_up.update(variant_keywords("mvitv2_l"))
optimizer.lr = 1e-4
train.max_iter = STEPS_50_EPOCHS
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_L_in21k.pyth"
