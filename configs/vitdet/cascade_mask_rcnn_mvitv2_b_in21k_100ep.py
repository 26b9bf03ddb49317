"""Cascade Mask R-CNN, MViTv2-B, ViTDet's recipe, 100 epochs. Published: 55.6 box AP, 48.1 mask AP."""

from mvit_det.backbone.mvit import variant_keywords

from ..common.models.cascade_mask_rcnn import model
from ..common.models.vitdet import to_vitdet
from .mask_rcnn_mvitv2_b_in21k_100ep import dataloader, lr_multiplier, optimizer, train

to_vitdet(model)
model.backbone.bottom_up.update(variant_keywords("mvitv2_b"))
