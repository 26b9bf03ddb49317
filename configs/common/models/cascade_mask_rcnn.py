"""Cascade Mask R-CNN with MViTv2-T and a feature pyramid."""

from mvit_det.detectron2.models.roi_heads import RegionBatchNorm

from .cascade_rcnn import model
from .mask_head import mask_branch

model.roi_heads.update(mask_branch)
model.roi_heads.mask_head.conv_norm = RegionBatchNorm
