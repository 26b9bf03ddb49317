"""Cascade Mask R-CNN, MViTv2-L from ImageNet-1K, 36 epochs.

Published: 54.3 box AP, 47.1 mask AP (MViTv2 paper, Table 5).
"""

from mvit_det.backbone.mvit import variant_keywords

from .cascade_mask_rcnn_mvitv2_t_3x import dataloader, lr_multiplier, model, optimizer, train

model.backbone.bottom_up.update(variant_keywords("mvitv2_l"), dim_mul_in_att=False)
train.init_checkpoint = "https://dl.fbaipublicfiles.com/mvit/mvitv2_models/MViTv2_L_in1k.pyth"
