"""Large-scale jittering for models that pad images to a square of 1024 px themselves, as ViTDet's do."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .coco_lsj import SIDE, dataloader

dataloader.train.mapper.augmentations[-1].pad = False
dataloader.test.mapper.augmentations = [L(T.ResizeShortestEdge)(short_edge_length=SIDE, max_size=SIDE)]
