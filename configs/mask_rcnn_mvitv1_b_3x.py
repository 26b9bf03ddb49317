"""Mask R-CNN, MViTv1-B, 36 epochs. Published: 48.8 box AP, 44.2 mask AP (MViTv2 paper, Table 4).

No weights of this backbone are published. Training starts from random weights, unless
train.init_checkpoint=... names a file.
"""

from mvit_det.backbone.mvit import variant_keywords

from .mask_rcnn_mvitv1_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv1_b"))
