from dataclasses import replace

import pytest
import torch
from torchvision.models.detection import MaskRCNN

from mvit_det.heads import HEADS
from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.polygon_masks import PolygonMasks

# Number of trainable parameters of Detectron2's detectors with 80 classes.
NUM_PARAMETERS = {
    "faster_rcnn": 41_036_288,
    "mask_rcnn": 43_679_568,
    "cascade_rcnn": 73_203_310,
    "cascade_mask_rcnn": 75_847_614,
}


@pytest.mark.parametrize("head", HEADS)
def test_number_of_parameters(head):
    with torch.device("meta"):
        model = build_detector("mvitv2_t", 81, head)
    assert isinstance(model, MaskRCNN) == HEADS[head].has_masks
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == NUM_PARAMETERS[head]


@pytest.fixture
def batch():
    """Two images, one of them with two objects."""
    torch.manual_seed(0)
    masks = torch.zeros(2, 64, 96, dtype=torch.uint8)
    masks[0, 10:40, 10:40] = masks[1, 20:60, 50:90] = 1
    boxes = torch.tensor([[10.0, 10, 40, 40], [50, 20, 90, 60]])
    objects = {"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": masks}
    no_objects = {
        "boxes": boxes[:0],
        "labels": objects["labels"][:0],
        "masks": torch.zeros(0, 80, 50).byte(),
    }
    return [torch.rand(3, 64, 96), torch.rand(3, 80, 50)], [objects, no_objects]


def build_small(head, **options):
    torch.manual_seed(0)
    return build_detector("mvitv2_nano", 4, head, min_size=64, max_size=128, **options)


@pytest.fixture(params=HEADS)
def model(request):
    return build_small(request.param)


@pytest.mark.parametrize("images", [slice(0, 2), slice(1, 2)], ids=["both", "without objects"])
def test_losses_give_every_parameter_a_gradient(model, batch, images):
    targets = batch[1][images]
    if not model.roi_heads.has_mask():
        targets = [{"boxes": target["boxes"], "labels": target["labels"]} for target in targets]
    losses = model(batch[0][images], targets)
    stages = ("_1", "_2", "_3") if len(model.roi_heads.stages) > 1 else ("",)
    expected = {"loss_objectness", "loss_rpn_box_reg"} | ({"loss_mask"} if "masks" in targets[0] else set())
    expected |= {f"loss_{kind}{stage}" for kind in ("classifier", "box_reg") for stage in stages}
    assert set(losses) == expected
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name  # DDP would wait for the gradient forever
        assert torch.isfinite(parameter.grad).all(), name


@torch.no_grad()
def predict(model, images):
    """Return predictions of any score, because those of an untrained detector are low."""
    model.eval()
    model.roi_heads.score_thresh = 0.0
    return model(images)


def test_predictions_have_the_form_of_torchvision(model, batch):
    images, _ = batch
    for image, prediction in zip(images, predict(model, images), strict=True):
        number = len(prediction["boxes"])
        assert number > 0
        if model.roi_heads.has_mask():
            assert prediction["masks"].shape == (number, 1, *image.shape[1:])
            assert prediction["masks"].dtype == torch.float32  # probabilities
        else:
            assert set(prediction) == {"boxes", "labels", "scores"}
        assert set(prediction["labels"].tolist()) <= {1, 2, 3}
        assert (prediction["scores"].diff() <= 0).all()
        x1, y1, x2, y2 = prediction["boxes"].unbind(1)
        assert (x1 < x2).all()
        assert (y1 < y2).all()
        assert x2.max() <= image.shape[2] + 1e-3
        assert y2.max() <= image.shape[1] + 1e-3


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_finds_the_same_best_object_and_more_objects(method, batch):
    sizes = {"min_size": 64, "max_size": 128, "box_detections_per_img": 10_000}
    model = build_detector("mvitv2_nano", 4, soft_nms=method, **sizes)
    assert model.roi_heads.soft_nms == method
    model.roi_heads.mask_roi_pool = model.roi_heads.mask_head = model.roi_heads.mask_predictor = None
    soft = predict(model, batch[0])
    model.roi_heads.soft_nms = None
    for detections, selected in zip(soft, predict(model, batch[0]), strict=True):
        assert detections["boxes"][0].tolist() == selected["boxes"][0].tolist()
        assert detections["scores"][0] == selected["scores"][0]
        assert len(detections["boxes"]) > len(selected["boxes"]) > 0


@pytest.mark.parametrize("head", HEADS)
def test_autocast_does_not_round_detections_to_half_precision(head, batch):
    model = build_small(head, rpn_post_nms_top_n_test=20)  # most CPUs emulate bf16, which takes long
    with torch.autocast("cpu", torch.bfloat16):
        detections = predict(model, batch[0][:1])[0]
    for values in (detections[name] for name in ("boxes", "scores", "masks") if name in detections):
        assert values.dtype == torch.float32
        assert (values != values.bfloat16().float()).any()


def test_a_thin_image_is_not_scaled_to_nothing(model):
    model.eval()
    with torch.no_grad():
        assert model([torch.rand(3, 1, 900)])[0]["boxes"].shape[1] == 4


def test_polygons_and_pixels_give_similar_losses(batch):
    images, targets = batch
    corners = [[10, 10, 40, 10, 40, 40, 10, 40], [50, 20, 90, 20, 90, 60, 50, 60]]
    polygons = [
        targets[0] | {"masks": PolygonMasks.from_coco([[corner] for corner in corners], (64, 96))},
        targets[1] | {"masks": PolygonMasks.from_coco([], (80, 50))},
    ]
    model = build_small("mask_rcnn")
    losses = []
    for masks in (targets, polygons):
        torch.manual_seed(0)  # of the sampled regions
        losses.append(model(images, masks)["loss_mask"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_fields_of_a_head_set_its_layers(monkeypatch):
    fields = {"num_box_convs": 2, "num_rpn_convs": 3, "iou_thresholds": (0.6,)}
    monkeypatch.setitem(HEADS, "changed", replace(HEADS["mask_rcnn"], **fields))
    model = build_small("changed")
    heads = model.roi_heads
    convolutions = [type(m) for m in heads.box_head.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 2
    assert len(model.rpn.head.conv) == 3
    assert heads.proposal_matcher.high_threshold == heads.proposal_matcher.low_threshold == 0.6


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="keyword 'min_sise': did you mean 'min_size'"):
        build_detector("mvitv2_nano", 2, min_sise=64)
    with pytest.raises(ValueError, match="the pyramid needs all four stages"):
        build_detector("mvitv2_nano", 2, backbone={"out_features": ("scale3",)})
    with pytest.raises(ValueError, match="num_classes 1: must be at least 2"):
        build_detector("mvitv2_nano", 1)
    with pytest.raises(ValueError, match="'mvit_nano': did you mean 'mvitv2_nano'"):
        build_detector("mvit_nano", 2)
    with pytest.raises(ValueError, match="head 'mask-rcnn': did you mean 'mask_rcnn'.*cascade_mask_rcnn"):
        build_detector("mvitv2_nano", 2, "mask-rcnn")
    with pytest.raises(ValueError, match="method of soft-NMS 'soft'.*expected one of gaussian, linear"):
        build_detector("mvitv2_nano", 2, soft_nms="soft")
