"""LVIS v1 with large-scale jittering on squares of 1024 px. Images of rare classes are repeated."""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.lvis import LvisEvaluator
from mvit_det.detectron2.data.sampling import RepeatFactorSampler

from .coco_lsj_square import dataloader

dataloader.train.dataset.names = "lvis_v1_train"
dataloader.train.sampler = L(RepeatFactorSampler)(threshold=0.001)
dataloader.test.dataset.names = "lvis_v1_val"
dataloader.evaluator = L(LvisEvaluator)(dataset_name="${..test.dataset.names}", max_dets_per_image=300)
