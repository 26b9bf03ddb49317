"""Mask R-CNN, MViTv2-T, on your own data.

Required: data.root=FOLDER
    or data.train.json=... data.train.images=... [data.val.json=... [data.val.images=...]]
Optional: data.drop_invalid=True to drop what cannot be used; train.init_checkpoint=... with the weights
    of a detector or of a backbone
"""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.user_data import count_classes
from mvit_det.recipes import warmup_fraction

from .common.data.user_data import data, dataloader, steps
from .mask_rcnn_mvitv2_t_3x import lr_multiplier, model, optimizer, train

model.roi_heads.num_classes = L(count_classes)(data="${data}")
dataloader.train.total_batch_size = 16
lr_multiplier.warmup_length = L(warmup_fraction)(num_steps="${train.max_iter}")
train.epochs = 36
train.max_iter = steps("${train.epochs}")
train.eval_period = train.checkpointer.period = steps(4)
