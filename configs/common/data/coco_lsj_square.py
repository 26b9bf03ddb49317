"""COCO 2017 with large-scale jittering, for models that pad images to squares of 1024 px, as ViTDet does."""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.resize import ResizeShortestEdge

from .coco_lsj import SIDE, dataloader

dataloader.train.mapper.augmentations[-1].pad = False
dataloader.test.mapper.augmentations = [L(ResizeShortestEdge)(short_edge_length=SIDE, max_size=SIDE)]
