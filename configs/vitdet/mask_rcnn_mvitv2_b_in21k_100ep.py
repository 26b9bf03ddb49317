"""Mask R-CNN, MViTv2-B, ViTDet's recipe, 100 epochs."""

from mvit_det.backbone.mvit import variant_keywords

from ..common.data.coco_lsj_square import dataloader
from ..common.models.mask_rcnn import model
from ..common.models.vitdet import to_vitdet
from ..common.optimizer import optimizer
from ..common.schedule import STEPS_100_EPOCHS
from ..common.schedule import lr_multiplier_100_epochs as lr_multiplier
from ..common.train import train

to_vitdet(model)
model.backbone.bottom_up.update(variant_keywords("mvitv2_b"))
optimizer.lr = 8e-5
optimizer.params.overrides = {"pos_embed": {"weight_decay": 0.0}}  # relative positions are decayed
train.max_iter = STEPS_100_EPOCHS
train.init_checkpoint = "detectron2://ImageNetPretrained/mvitv2/MViTv2_B_in21k.pyth"
