"""Mask R-CNN, MViTv1-T, 36 epochs. Published: 45.9 box AP, 42.1 mask AP (MViTv2 paper, Table 4).

No weights of this backbone are published. Training starts from random weights, unless
train.init_checkpoint=... names a file.
"""

from mvit_det.backbone.mvit import variant_keywords

from .mask_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv1_t"))
train.init_checkpoint = ""
