"""Large-scale jittering for a model that pads its pictures to 1024 px square itself, as ViTDet's."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .coco_lsj import SIDE, dataloader

dataloader.train.mapper.augmentations[-1].pad = False
dataloader.test.mapper.augmentations = [L(T.ResizeShortestEdge)(short_edge_length=SIDE, max_size=SIDE)]
