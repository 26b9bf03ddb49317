"""The same weights detect the same objects in both integrations."""

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from detectron2.evaluation.coco_evaluation import _evaluate_predictions_on_coco
from detectron2.structures import PolygonMasks as DetectronPolygonMasks
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou

from mvit_det.backbone.mvit import variant_keywords
from mvit_det.data.average_precision import METRICS, evaluate
from mvit_det.data.coco.index import index_coco
from mvit_det.data.results import to_results
from mvit_det.data.shapes import draw_image
from mvit_det.detectron2 import get_config
from mvit_det.heads import HEADS
from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.polygon_masks import PolygonMasks
from mvit_det.weights import to_detectron2

SHORT_SIDE, LONG_SIDE = 160, 267  # px, of test images
NUM_CLASSES = 3


def build_in_detectron2(head):
    """Return the detector of a published config with the sizes of the nano variant."""
    nano = get_config("mask_rcnn_mvitv2_nano").model
    model = get_config(f"{head}_mvitv2_t_3x").model
    model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))
    channels = model.backbone.out_channels = nano.backbone.out_channels
    model.proposal_generator.update(
        pre_nms_topk=nano.proposal_generator.pre_nms_topk, post_nms_topk=nano.proposal_generator.post_nms_topk
    )
    heads = model.roi_heads
    heads.num_classes = NUM_CLASSES
    box_heads = heads.get("box_heads") or [heads.box_head]
    predictors = heads.get("box_predictors") or [heads.box_predictor]
    for box_head, predictor in zip(box_heads, predictors, strict=True):
        box_head.update(
            input_shape=nano.roi_heads.box_head.input_shape,
            conv_dims=[channels] * len(box_head.conv_dims),
            fc_dims=[4 * channels] * len(box_head.fc_dims),
        )
        predictor.input_shape = nano.roi_heads.box_predictor.input_shape
    if HEADS[head].has_masks:
        heads.mask_head.update(
            input_shape=nano.roi_heads.mask_head.input_shape, conv_dims=nano.roi_heads.mask_head.conv_dims
        )
    return instantiate(model).eval()


def build_in_torchvision(head):
    return build_detector(
        "mvitv2_nano", 1 + NUM_CLASSES, head, min_size=SHORT_SIDE, max_size=LONG_SIDE
    ).eval()


def with_varied_scores(weights):
    """Scale random weights so that predictions differ between locations and some scores are high."""
    factors = {"cls_logits": 30, "cls_score": 8, "rpn.head.bbox_pred": 5, "mask_fcn_logits": 300}
    scaled = {}
    for name, tensor in weights.items():
        factor = next((f for part, f in factors.items() if part in name and "weight" in name), 1)
        scaled[name] = tensor * factor
        if "running_mean" in name:
            scaled[name] = 0.1 * torch.randn_like(tensor)
        elif "running_var" in name:
            scaled[name] = 0.5 + torch.rand_like(tensor)
    return scaled


def sample_images():
    """Return RGB images of wide, tall, small and odd sizes."""
    random = np.random.default_rng(0)
    sizes = ((224, 224), (201, 133), (97, 222), (47, 61), (160, 160), (224, 75))
    return [np.ascontiguousarray(draw_image(random)[0][:h, :w]) for h, w in sizes]


@torch.no_grad()
def detect_with_detectron2(model, image):
    resize = T.ResizeShortestEdge(SHORT_SIDE, LONG_SIDE).get_transform(image)
    tensor = torch.from_numpy(resize.apply_image(image).transpose(2, 0, 1).copy())
    height, width = image.shape[:2]
    instances = model([{"image": tensor, "height": height, "width": width}])[0]["instances"]
    detections = {
        "boxes": instances.pred_boxes.tensor,
        "labels": instances.pred_classes + 1,
        "scores": instances.scores,
    }
    return detections | ({"masks": instances.pred_masks} if instances.has("pred_masks") else {})


@torch.no_grad()
def detect_with_torchvision(model, image):
    model.transform.mask_threshold = 0.5
    detections = model([torch.from_numpy(image).permute(2, 0, 1) / 255])[0]
    return detections | ({"masks": detections["masks"][:, 0]} if "masks" in detections else {})


def num_matches(left, right):
    """Return the number of detections in ``left`` with an equal class, box, score and mask in ``right``."""
    if not len(left["boxes"]) or not len(right["boxes"]):
        return 0
    equal = box_iou(left["boxes"], right["boxes"]) > 0.99
    if "masks" in left:
        first, second = (detections["masks"].flatten(1).float() for detections in (left, right))
        intersection = first @ second.T
        union = first.sum(1)[:, None] + second.sum(1) - intersection
        equal &= intersection >= 0.99 * union
    equal &= left["labels"][:, None] == right["labels"]
    equal &= (left["scores"][:, None] - right["scores"]).abs() < 1e-3
    is_taken = torch.zeros(len(right["boxes"]), dtype=torch.bool)
    for partners in equal:  # both are sorted by score, so the first free partner is the right one
        free = torch.where(partners & ~is_taken)[0]
        is_taken[free[:1]] = True
    return int(is_taken.sum())


@pytest.mark.parametrize("head", HEADS)
def test_detections_are_equal(head):
    in_torchvision = build_in_torchvision(head)
    in_torchvision.load_state_dict(with_varied_scores(in_torchvision.state_dict()))
    in_detectron2 = build_in_detectron2(head)
    in_detectron2.load_state_dict(to_detectron2(in_torchvision.state_dict()))  # strict

    total = num_matched = num_with_mask = 0
    labels = set()
    for image in sample_images():
        left = detect_with_torchvision(in_torchvision, image)
        right = detect_with_detectron2(in_detectron2, image)
        total += max(len(left["boxes"]), len(right["boxes"]))
        num_matched += num_matches(left, right)
        assert left.keys() == right.keys()
        num_with_mask += int(left["masks"].flatten(1).any(1).sum()) if "masks" in left else 0
        labels |= set(left["labels"].tolist())
    assert total > 100
    assert num_with_mask > total / 2 or not HEADS[head].has_masks
    assert len(labels) > 1
    assert num_matched >= 0.995 * total


def test_mask_targets_of_polygons_are_equal():
    random = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 9)
    parts = [random.uniform(20, 80, 2) + 30 * np.stack([np.cos(angle), np.sin(angle)], 1) for _ in range(8)]
    objects = [[parts[0].ravel(), parts[1].ravel()], *([part.ravel()] for part in parts[2:])]
    boxes = torch.tensor(random.uniform([0, 0, 50, 50], [50, 50, 120, 120], (7, 4)), dtype=torch.float32)
    expected = DetectronPolygonMasks(objects).crop_and_resize(boxes, 28)
    targets = PolygonMasks.from_coco(objects, (100, 100)).crop(boxes, torch.arange(7), 28)
    assert torch.equal(targets.bool(), expected)
    assert 0 < targets.mean() < 1


def test_average_precision_is_equal():
    random = np.random.default_rng(0)
    size = 300
    rows, columns = np.mgrid[:size, :size]

    def ellipse(x, y, width, height):
        return ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 <= 1

    shapes = random.uniform([20, 20, 4, 4], [280, 280, 70, 70], (30, 4))
    truth, results = [], []
    for number, (shape, moved) in enumerate(
        zip(shapes, shapes + random.normal(0, 2, (30, 4)), strict=True), 1
    ):
        mask, detected = ellipse(*shape), ellipse(*moved)
        box = np.concatenate([moved[:2] - moved[2:], moved[:2] + moved[2:]])
        results += to_results(1, box[None], random.uniform(size=1), detected[None], [1])
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        truth.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": coco_mask.toBbox(rle).tolist(),
                "area": int(mask.sum()),
                "segmentation": rle,
            }
        )
    image = {"id": 1, "file_name": "a.png", "width": size, "height": size}
    coco = index_coco({"images": [image], "annotations": truth, "categories": [{"id": 1, "name": "a"}]})
    metrics = evaluate(coco, results, has_masks=True)
    for kind, iou_type in (("box", "bbox"), ("mask", "segm")):
        expected = _evaluate_predictions_on_coco(coco, results, iou_type).stats[:6]
        assert [metrics[kind][name] for name in METRICS] == pytest.approx(100 * expected, abs=0.01)
    assert all(0 < metrics["mask"][name] < 100 for name in ("APs", "APm", "APl"))


def test_proposal_limits_are_equal():
    rpn = build_detector("mvitv2_t", 81).rpn
    config = get_config("mask_rcnn_mvitv2_t_3x").model.proposal_generator
    assert (rpn._pre_nms_top_n["training"], rpn._pre_nms_top_n["testing"]) == tuple(config.pre_nms_topk)
    assert (rpn._post_nms_top_n["training"], rpn._post_nms_top_n["testing"]) == tuple(config.post_nms_topk)
    assert rpn.nms_thresh == config.nms_thresh
