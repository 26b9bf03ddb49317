"""Mask R-CNN, MViTv1-S, 36 epochs. Published: 47.6 box AP, 43.4 mask AP (MViTv2 paper, Table 4).

SlowFast's MViTv1-B-16 for ImageNet-1K has the same architecture. The file is not downloaded automatically:
training starts from random weights, unless train.init_checkpoint=... names it.
"""

from mvit_det.backbone.mvit import variant_keywords

from .mask_rcnn_mvitv1_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv1_s"))
