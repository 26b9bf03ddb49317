"""Cascade Mask R-CNN, MViTv2-H, on LVIS v1, ViTDet's recipe, 50 epochs.

Published: 49.5 box AP, 44.1 mask AP.
"""

from mvit_det.backbone.mvit import variant_keywords

from ..common.schedule import STEPS_50_EPOCHS_LVIS
from ..common.schedule import lr_multiplier_50_epochs_lvis as lr_multiplier
from .cascade_mask_rcnn_mvitv2_b_in21k_100ep import dataloader, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_h"))
model.backbone.bottom_up.recompute = "block"
optimizer.lr = 2e-5
train.max_iter = STEPS_50_EPOCHS_LVIS
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_H_in21k.pyth"
