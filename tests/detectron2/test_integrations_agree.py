"""The same weights find the same objects in both homes."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="Detectron2 is not installed")

import detectron2.data.transforms as T
from detectron2.config import LazyConfig, instantiate
from torchvision.ops import box_iou

from mvit_det.backbone.mvit import variant_keywords
from mvit_det.data.shapes import draw_image
from mvit_det.torchvision import build_detector
from mvit_det.weights import to_detectron2

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT_SIDE, LONG_SIDE = 160, 267  # px, at inference
NUM_CLASSES = 3


def build_in_detectron2(cascade):
    """Return the nano detector of the configs; for a cascade, the published one as small as that."""
    nano = LazyConfig.load(str(CONFIGS / "mask_rcnn_mvitv2_nano.py")).model
    nano.roi_heads.num_classes = NUM_CLASSES
    if not cascade:
        return instantiate(nano).eval()
    model = LazyConfig.load(str(CONFIGS / "cascade_mask_rcnn_mvitv2_t_3x.py")).model
    model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))
    channels = model.backbone.out_channels = nano.backbone.out_channels
    model.proposal_generator.update(
        pre_nms_topk=nano.proposal_generator.pre_nms_topk, post_nms_topk=nano.proposal_generator.post_nms_topk
    )
    heads = model.roi_heads
    heads.num_classes = NUM_CLASSES
    for head, predictor in zip(heads.box_heads, heads.box_predictors, strict=True):
        head.update(conv_dims=[channels] * 4, fc_dims=[4 * channels])
        head.input_shape = nano.roi_heads.box_head.input_shape
        predictor.input_shape = nano.roi_heads.box_predictor.input_shape
    heads.mask_head.update(
        input_shape=nano.roi_heads.mask_head.input_shape, conv_dims=nano.roi_heads.mask_head.conv_dims
    )
    return instantiate(model).eval()


def build_in_torchvision(cascade):
    return build_detector(
        "mvitv2_nano", 1 + NUM_CLASSES, cascade, min_size=SHORT_SIDE, max_size=LONG_SIDE
    ).eval()


def outspoken(weights):
    """Return random weights whose predictions differ from place to place, and reach high scores."""
    factors = {"cls_logits": 30, "cls_score": 8, "rpn.head.bbox_pred": 5, "mask_fcn_logits": 300}
    random = {}
    for name, tensor in weights.items():
        factor = next((f for part, f in factors.items() if part in name and "weight" in name), 1)
        random[name] = tensor * factor
        if "running_mean" in name:
            random[name] = 0.1 * torch.randn_like(tensor)
        elif "running_var" in name:
            random[name] = 0.5 + torch.rand_like(tensor)
    return random


def pictures():
    """Return RGB pictures of many sizes, wide, tall, small and odd."""
    random = np.random.default_rng(0)
    shapes = ((224, 224), (201, 133), (97, 222), (47, 61), (160, 160), (224, 75))
    return [np.ascontiguousarray(draw_image(random)[0][:h, :w]) for h, w in shapes]


@torch.no_grad()
def found_by_detectron2(model, picture):
    resize = T.ResizeShortestEdge(SHORT_SIDE, LONG_SIDE).get_transform(picture)
    image = torch.from_numpy(resize.apply_image(picture).transpose(2, 0, 1).copy())
    height, width = picture.shape[:2]
    found = model([{"image": image, "height": height, "width": width}])[0]["instances"]
    return {
        "boxes": found.pred_boxes.tensor,
        "labels": found.pred_classes + 1,
        "scores": found.scores,
        "masks": found.pred_masks,
    }


@torch.no_grad()
def found_by_torchvision(model, picture):
    image = torch.from_numpy(picture).permute(2, 0, 1) / 255
    found = model([image])[0]
    return found | {"masks": found["masks"][:, 0] >= 0.5}


def num_matched(ours, theirs):
    """Return how many detections have a partner of the same class, box, score and mask."""
    if not len(ours["boxes"]) or not len(theirs["boxes"]):
        return 0
    first, second = (found["masks"].flatten(1).float() for found in (ours, theirs))
    inside = first @ second.T
    either = first.sum(1)[:, None] + second.sum(1) - inside
    same = (box_iou(ours["boxes"], theirs["boxes"]) > 0.99) & (inside >= 0.99 * either)
    same &= ours["labels"][:, None] == theirs["labels"]
    same &= (ours["scores"][:, None] - theirs["scores"]).abs() < 1e-3
    taken = torch.zeros(len(theirs["boxes"]), dtype=torch.bool)
    for partners in same:  # both are sorted by score: the first free one is the right one
        free = torch.where(partners & ~taken)[0]
        taken[free[:1]] = True
    return int(taken.sum())


@pytest.fixture(params=[False, True], ids=["mask_rcnn", "cascade"])
def cascade(request):
    return request.param


def test_detections_are_the_same(cascade):
    torch.manual_seed(0)
    here = build_in_torchvision(cascade)
    here.load_state_dict(outspoken(here.state_dict()))
    there = build_in_detectron2(cascade)
    there.load_state_dict(to_detectron2(here.state_dict()))  # strict: every tensor of one is in the other

    total = matched = with_mask = 0
    labels = set()
    for picture in pictures():
        ours, theirs = found_by_torchvision(here, picture), found_by_detectron2(there, picture)
        total += max(len(ours["boxes"]), len(theirs["boxes"]))
        matched += num_matched(ours, theirs)
        with_mask += int(ours["masks"].flatten(1).any(1).sum())
        labels |= set(ours["labels"].tolist())
    assert total > 100
    assert with_mask > total / 2
    assert len(labels) > 1
    assert matched >= 0.995 * total


def test_proposals_take_the_recipes_numbers():
    rpn = build_detector("mvitv2_t", 81).rpn
    config = LazyConfig.load(str(CONFIGS / "mask_rcnn_mvitv2_t_3x.py")).model.proposal_generator
    assert (rpn._pre_nms_top_n["training"], rpn._pre_nms_top_n["testing"]) == tuple(config.pre_nms_topk)
    assert (rpn._post_nms_top_n["training"], rpn._post_nms_top_n["testing"]) == tuple(config.post_nms_topk)
    assert rpn.nms_thresh == config.nms_thresh
