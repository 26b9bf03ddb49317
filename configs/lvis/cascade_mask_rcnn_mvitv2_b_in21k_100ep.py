"""Cascade Mask R-CNN, MViTv2-B, on LVIS v1, ViTDet's recipe, 100 epochs.

Published: 46.3 box AP, 42.0 mask AP.
"""

from ..common.data.lvis import dataloader
from ..common.models.lvis import to_lvis
from ..common.schedule import STEPS_100_EPOCHS_LVIS
from ..common.schedule import lr_multiplier_100_epochs_lvis as lr_multiplier
from ..vitdet.cascade_mask_rcnn_mvitv2_b_in21k_100ep import model, optimizer, train

to_lvis(model)
optimizer.lr = 1e-4
train.max_iter = STEPS_100_EPOCHS_LVIS
train.eval_period = 30_000
