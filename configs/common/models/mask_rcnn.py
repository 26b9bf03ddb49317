"""Mask R-CNN with MViTv2-T and a feature pyramid."""

from .faster_rcnn import model
from .mask_head import mask_branch

model.roi_heads.update(mask_branch)
