"""Faster R-CNN, MViTv2-T, on your own data with boxes alone.

The keys are those of finetune_mask_rcnn_mvitv2_t.
"""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.user_data import count_classes

from .faster_rcnn_mvitv2_t_3x import model
from .finetune_mask_rcnn_mvitv2_t import data, dataloader, lr_multiplier, optimizer, train

model.roi_heads.num_classes = L(count_classes)(data="${data}")
dataloader.train.mapper.use_instance_mask = False
dataloader.train.mapper.pop("instance_mask_format")
