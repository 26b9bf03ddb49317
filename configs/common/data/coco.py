"""COCO 2017 with multi-scale training. Half of the images are cropped before they are resized."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import build_detection_test_loader, get_detection_dataset_dicts
from detectron2.evaluation import COCOEvaluator

from mvit_det.detectron2.data.mapper import DetectionMapper
from mvit_det.detectron2.data.resize import ResizeShortestEdge
from mvit_det.detectron2.data.train_loader import TrainLoader

dataloader = dict(
    train=L(TrainLoader)(
        dataset=L(get_detection_dataset_dicts)(names="coco_2017_train"),
        mapper=L(DetectionMapper)(
            is_train=True,
            augmentations=[
                L(T.RandomApply)(
                    tfm_or_aug=L(T.AugmentationList)(
                        augs=[
                            L(ResizeShortestEdge)(short_edge_length=[400, 500, 600], sample_style="choice"),
                            L(T.RandomCrop)(crop_type="absolute_range", crop_size=(384, 600)),
                        ]
                    ),
                    prob=0.5,
                ),
                L(ResizeShortestEdge)(
                    short_edge_length=list(range(480, 801, 32)), max_size=1333, sample_style="choice"
                ),
                L(T.RandomFlip)(),
            ],
            image_format="RGB",
            use_instance_mask=True,
            recompute_boxes=False,
        ),
        total_batch_size=64,
        num_workers=4,
    ),
    test=L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="coco_2017_val", filter_empty=False),
        mapper=L(DetectionMapper)(
            is_train=False,
            augmentations=[L(ResizeShortestEdge)(short_edge_length=800, max_size=1333)],
            image_format="${...train.mapper.image_format}",
        ),
        num_workers=4,
    ),
    evaluator=L(COCOEvaluator)(dataset_name="${..test.dataset.names}"),
)
