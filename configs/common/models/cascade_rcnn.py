"""Cascade R-CNN with MViTv2-T and a feature pyramid.

Each of the three box heads has four convolutions with batch norm and one linear layer.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.roi_heads import FastRCNNConvFCHead

from mvit_det.detectron2.models.roi_heads import BoxPredictor, RegionBatchNorm
from mvit_det.detectron2.models.soft_nms import SoftNMSCascadeROIHeads
from mvit_det.heads import HEADS

from .faster_rcnn import model

head = HEADS["cascade_rcnn"]

for key in ("box_head", "box_predictor", "proposal_matcher"):
    model.roi_heads.pop(key)
model.roi_heads.update(
    _target_=SoftNMSCascadeROIHeads,
    box_heads=[
        L(FastRCNNConvFCHead)(
            input_shape=ShapeSpec(channels=256, height=7, width=7),
            conv_dims=[256] * head.num_box_convs,
            fc_dims=[1024],
            conv_norm=RegionBatchNorm,
        )
        for _ in head.iou_thresholds
    ],
    box_predictors=[
        L(BoxPredictor)(
            input_shape=ShapeSpec(channels=1024),
            box2box_transform=L(Box2BoxTransform)(weights=weights),
            num_classes="${...num_classes}",
            cls_agnostic_bbox_reg=True,
            test_score_thresh=0.05,
        )
        for weights in head.box_weights  # (10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)
    ],
    proposal_matchers=[
        L(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False)
        for iou in head.iou_thresholds  # 0.5, 0.6, 0.7
    ],
)
model.proposal_generator.head.conv_dims = [-1] * head.num_rpn_convs
