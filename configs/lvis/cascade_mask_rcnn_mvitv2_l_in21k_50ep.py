"""Cascade Mask R-CNN, MViTv2-L, on LVIS v1, ViTDet's recipe, 50 epochs.

Published: 49.4 box AP, 44.2 mask AP.
"""

from mvit_det.backbone.mvit import variant_keywords

from ..common.schedule import STEPS_50_EPOCHS_LVIS
from ..common.schedule import lr_multiplier_50_epochs_lvis as lr_multiplier
from .cascade_mask_rcnn_mvitv2_b_in21k_100ep import dataloader, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_l"))
optimizer.lr = 4e-5
train.max_iter = STEPS_50_EPOCHS_LVIS
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_L_in21k.pyth"
