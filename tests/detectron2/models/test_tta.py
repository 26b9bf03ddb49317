"""Test-time augmentation."""

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.structures import Boxes, Instances

from mvit_det.data.shapes import draw_image
from mvit_det.detectron2.models.tta import DetectorWithTTA

HEADS = ("mask_rcnn", "cascade_mask_rcnn")


def sample(height=75, width=110):
    """An image that is larger than its entry says, as after a data loader that resizes."""
    image = np.ascontiguousarray(draw_image(np.random.default_rng(0))[0][:height, :width])
    return {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "height": 150, "width": 220}


def detectron2_tta(model, short_sides, flip):
    """Detectron2's test-time augmentation, which takes a yacs config."""
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = model.roi_heads.mask_on
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE, cfg.TEST.AUG.FLIP = short_sides, 4000, flip
    return GeneralizedRCNNWithTTA(cfg, model, batch_size=1)  # a batch would pad images to the largest


def assert_same(left, right):
    """Compare detections whose order may differ between equal scores."""
    assert left.image_size == right.image_size
    assert len(left) == len(right) > 20
    torch.testing.assert_close(left.scores, right.scores)
    torch.testing.assert_close(left.pred_boxes.tensor, right.pred_boxes.tensor, rtol=1e-4, atol=1e-3)
    assert left.pred_classes.tolist() == right.pred_classes.tolist()
    assert left.has("pred_masks") == right.has("pred_masks")
    if left.has("pred_masks"):
        assert left.pred_masks.any(2).any(1).float().mean() > 0.5
        assert (left.pred_masks != right.pred_masks).float().mean() < 1e-4


@pytest.mark.parametrize("head", HEADS)
def test_detections_equal_those_of_detectron2(head, build_detector):
    model = build_detector(head)
    short_sides = [64, 100]
    ours = DetectorWithTTA(model, short_sides, max_size=4000, flip=True)([sample()])[0]["instances"]
    with torch.no_grad():
        reference = detectron2_tta(model, short_sides, flip=True)([sample()])[0]["instances"]
    assert_same(ours, reference)


def test_boxes_without_masks_equal_those_of_detectron2(build_detector):
    model = build_detector("cascade_rcnn")
    ours = DetectorWithTTA(model, [64, 90], max_size=4000, flip=False)([sample()])[0]["instances"]
    with torch.no_grad():
        reference = detectron2_tta(model, [64, 90], flip=False)([sample()])[0]["instances"]
    assert not ours.has("pred_masks")
    assert_same(ours, reference)


@pytest.mark.parametrize("head", HEADS)
def test_one_size_without_mirroring_equals_the_model(head, build_detector):
    model = build_detector(head)
    inputs = sample()
    with torch.no_grad():
        plain = model([inputs])[0]["instances"]
    assert_same(DetectorWithTTA(model, [75], max_size=4000, flip=False)([inputs])[0]["instances"], plain)


class RecordedDetector(torch.nn.Module):
    """The parts of a detector, which find one object and record what they are called with."""

    def __init__(self, boxes, masks):
        super().__init__()
        self.boxes, self.masks = boxes, masks  # for each augmentation
        self.images, self.mask_boxes = [], []
        self.device = torch.device("cpu")
        self.mask_on = True
        self.test_nms_thresh, self.test_topk_per_image = 0.5, 100
        self.eval()

    @property
    def roi_heads(self):
        return self

    @property
    def box_predictor(self):
        return self

    def preprocess_image(self, samples):
        self.images.append(samples[0]["image"])
        return self

    tensor = None

    def backbone(self, images):
        return {}

    def proposal_generator(self, images, features):
        return None, {}

    def _forward_box(self, features, proposals):
        boxes = Boxes(torch.tensor([self.boxes[len(self.images) - 1]], dtype=torch.float32))
        score = torch.tensor([0.5 + 0.1 * len(self.images)])
        size = tuple(self.images[-1].shape[1:])
        return [Instances(size, pred_boxes=boxes, scores=score, pred_classes=torch.tensor([2]))]

    def forward_with_given_boxes(self, features, instances):
        self.mask_boxes.append(instances[0].pred_boxes.tensor.tolist())
        instances[0].pred_masks = torch.tensor(self.masks[len(self.mask_boxes) - 1])[None, None]
        return instances


def test_boxes_are_transformed_back_and_masks_averaged():
    # The image of 40 x 80 px is seen in 64 x 128 px, mirrored, in 100 x 200 px, mirrored. Its object covers
    # x from 10 to 30 and y from 5 to 25.
    boxes = [[16, 8, 48, 40], [80, 8, 112, 40], [25, 12.5, 75, 62.5], [125, 12.5, 175, 62.5]]
    full, empty, left, right = [[0.9, 0.9]] * 2, [[0.0, 0.0]] * 2, [[0.9, 0.3]] * 2, [[0.3, 0.9]] * 2
    # Means of the four masks: on the left (0.9 + 0.9 + 0.9 + 0) / 4, on the right (0.9 + 0.3 + 0.3 + 0) / 4.
    model = RecordedDetector(boxes, [full, right, left, empty])
    image = torch.arange(40 * 80, dtype=torch.int32).reshape(40, 80).remainder(251).to(torch.uint8)
    detector = DetectorWithTTA(model, [64, 100], max_size=300, flip=True)
    detections = detector([{"image": image.expand(3, -1, -1)}])[0]["instances"]
    assert [tuple(image.shape) for image in model.images] == [(3, 64, 128)] * 2 + [(3, 100, 200)] * 2
    assert torch.equal(model.images[1], model.images[0].flip(2))
    assert detections.pred_boxes.tensor.tolist() == [pytest.approx([10, 5, 30, 25])]
    assert detections.scores.tolist() == pytest.approx([0.9])  # the best of the four
    assert detections.pred_classes.tolist() == [2]
    for given, expected in zip(model.mask_boxes, boxes, strict=True):
        assert given == [pytest.approx(expected)]
    (mask,) = detections.pred_masks
    assert mask.shape == (40, 80)
    assert mask[10:20, 14:17].all()  # 0.675 at the center of the left cell
    assert not mask[:, 23:].any()  # 0.375 at the center of the right cell


def test_long_side_is_limited_and_empty_images_have_no_detections(build_detector):
    model = build_detector("mask_rcnn")
    model.roi_heads.box_predictor.test_score_thresh = 1.0
    detector = DetectorWithTTA(model, [64, 200], max_size=128, flip=True)
    assert detector._resize(torch.zeros(3, 40, 80, dtype=torch.uint8), 200).shape == (3, 64, 128)
    detections = detector([sample()])[0]["instances"]
    assert len(detections) == 0
    assert detections.pred_masks.shape == (0, 150, 220)


def test_soft_nms_merges_the_detections(build_detector):
    model = build_detector("mask_rcnn", soft_nms="gaussian")
    model.roi_heads.mask_on = False
    model.roi_heads.box_predictor.test_topk_per_image = 1000
    soft = DetectorWithTTA(model, [64, 100], max_size=4000, flip=False)([sample()])[0]["instances"]
    model.roi_heads.soft_nms = None
    hard = DetectorWithTTA(model, [64, 100], max_size=4000, flip=False)([sample()])[0]["instances"]
    assert len(soft) > len(hard)
    assert soft.scores[0] == hard.scores[0]
