"""Detectron2's heads with soft-NMS."""

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from mvit_det.detectron2 import get_config
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.errors import InputError
from mvit_det.nms import SOFT_NMS, suppress

CONFIGS = {"mask_rcnn": "mask_rcnn_mvitv2_nano", "cascade_mask_rcnn": "cascade_mask_rcnn_mvitv2_t_3x"}


@pytest.mark.parametrize("method", SOFT_NMS)
@pytest.mark.parametrize("head", CONFIGS)
def test_soft_nms_selects_among_the_boxes_of_the_heads(head, method, build_detector):
    detector = build_detector(head)
    heads = detector.roi_heads
    heads.mask_on = False
    predictors = [heads.box_predictor] if head == "mask_rcnn" else heads.box_predictor
    samples = [{"image": torch.randint(256, (3, *size), dtype=torch.uint8)} for size in ((64, 96), (80, 64))]

    def detect(nms_threshold, limit):
        for predictor in predictors:
            predictor.test_nms_thresh, predictor.test_topk_per_image = nms_threshold, limit
        with torch.no_grad():
            return [prediction["instances"] for prediction in detector(samples)]

    everything = detect(1.0, -1)  # NMS by Detectron2 that removes nothing
    heads.soft_nms = method
    for boxes, detections in zip(everything, detect(0.3, 40), strict=True):
        assert len(boxes) > len(detections) == 40
        kept, scores = suppress(
            boxes.pred_boxes.tensor,
            boxes.scores,
            boxes.pred_classes,
            iou_threshold=0.3,
            max_detections=40,
            soft_nms=method,
        )
        torch.testing.assert_close(detections.scores, scores)
        torch.testing.assert_close(detections.pred_boxes.tensor, boxes.pred_boxes.tensor[kept])
        assert detections.pred_classes.tolist() == boxes.pred_classes[kept].tolist()
        assert (scores < boxes.scores[kept]).any()


@pytest.mark.parametrize("head", CONFIGS)
def test_without_soft_nms_the_detections_are_those_of_detectron2(head, build_detector, monkeypatch):
    detector = build_detector(head)
    heads = detector.roi_heads
    predictors = [heads.box_predictor] if head == "mask_rcnn" else heads.box_predictor
    for predictor in predictors:
        predictor.test_score_thresh, predictor.test_topk_per_image = 0.0, 50
    samples = [{"image": torch.randint(256, (3, *size), dtype=torch.uint8)} for size in ((64, 96), (80, 64))]
    with torch.no_grad():
        with monkeypatch.context() as context:  # Detectron2's NMS is not used
            context.delattr("detectron2.modeling.roi_heads.fast_rcnn.fast_rcnn_inference")
            results = [prediction["instances"] for prediction in detector(samples)]
        heads.__class__ = type(heads).__base__
        expected = [prediction["instances"] for prediction in detector(samples)]
    for instances, reference in zip(results, expected, strict=True):
        assert len(instances) == 50
        torch.testing.assert_close(instances.scores, reference.scores)
        assert torch.equal(instances.pred_classes, reference.pred_classes)
        torch.testing.assert_close(instances.pred_boxes.tensor, reference.pred_boxes.tensor)
        assert torch.equal(instances.pred_masks, reference.pred_masks)


@pytest.mark.parametrize("name", CONFIGS.values())
def test_one_key_sets_soft_nms_for_every_head(name):
    assert get_config(name).model.roi_heads.soft_nms is None
    cfg = load_config(name, ["model.roi_heads.num_classes=3", "model.roi_heads.soft_nms=gaussian"])
    with torch.device("meta"):
        assert build(cfg.model).roi_heads.soft_nms == "gaussian"
    cfg.model.roi_heads.soft_nms = "gauss"
    with pytest.raises(InputError, match="unknown method of soft-NMS 'gauss': did you mean 'gaussian'"):
        build(cfg.model)


def test_training_does_not_depend_on_soft_nms(build_detector):
    detector = build_detector("mask_rcnn", soft_nms="linear").train()
    objects = Instances(
        (64, 64), gt_boxes=Boxes(torch.tensor([[5.0, 5, 40, 40]])), gt_classes=torch.tensor([1])
    )
    proposals = [Instances((64, 64), proposal_boxes=objects.gt_boxes, objectness_logits=torch.ones(1))]
    features = {f"p{n}": torch.zeros(1, 64, 64 >> n, 64 >> n) for n in (2, 3, 4, 5)}
    detector.roi_heads.mask_on = False
    with EventStorage():
        _, losses = detector.roi_heads(None, features, proposals, [objects])
    assert set(losses) == {"loss_cls", "loss_box_reg"}
