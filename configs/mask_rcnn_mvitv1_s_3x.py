"""Mask R-CNN, MViTv1-S, 36 epochs. Published: 47.6 box AP, 43.4 mask AP (MViTv2 paper, Table 4).

SlowFast's MViTv1-B-16 of ImageNet-1K is this backbone. It has no address to fetch it from: without
train.init_checkpoint=... the run starts from random weights.
"""

from mvit_det.backbone.mvit import variant_keywords

from .mask_rcnn_mvitv1_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv1_s"))
