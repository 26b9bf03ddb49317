"""COCO 2017 with large-scale jittering on squares of 1024 px."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .coco import dataloader

SIDE = 1024  # px

dataloader.train.mapper.update(
    augmentations=[
        L(T.RandomFlip)(),
        L(T.ResizeScale)(min_scale=0.1, max_scale=2.0, target_height=SIDE, target_width=SIDE),
        L(T.FixedSizeCrop)(crop_size=(SIDE, SIDE)),
    ],
    recompute_boxes=True,  # from the cropped masks
)
