import pytest
import torch

from mvit_det.torchvision import build_detector

# Trainable parameters of Detectron2's detectors of 80 classes.
MASK_RCNN_T = 43_679_568
CASCADE_T = 75_847_614


@pytest.mark.parametrize(("cascade", "expected"), [(False, MASK_RCNN_T), (True, CASCADE_T)])
def test_number_of_parameters(cascade, expected):
    with torch.device("meta"):
        model = build_detector("mvitv2_t", 81, cascade)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


def batch():
    masks = torch.zeros(2, 64, 96, dtype=torch.uint8)
    masks[0, 10:40, 10:40] = masks[1, 20:60, 50:90] = 1
    boxes = torch.tensor([[10.0, 10, 40, 40], [50, 20, 90, 60]])
    some = {"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": masks}
    none = {
        "boxes": boxes[:0],
        "labels": some["labels"][:0],
        "masks": torch.zeros(0, 80, 50).byte(),
    }
    return [torch.rand(3, 64, 96), torch.rand(3, 80, 50)], [some, none]


@pytest.fixture(params=[False, True], ids=["single", "cascade"])
def model(request):
    torch.manual_seed(0)
    return build_detector("mvitv2_nano", 4, request.param, min_size=64, max_size=128)


def test_losses_of_pictures_with_and_without_objects(model):
    images, targets = batch()
    for chosen in (slice(0, 2), slice(1, 2)):  # both pictures, and the empty one alone
        model.zero_grad()
        losses = model(images[chosen], targets[chosen])
        stages = ("_1", "_2", "_3") if "loss_classifier_1" in losses else ("",)
        expected = {"loss_objectness", "loss_rpn_box_reg", "loss_mask"}
        expected |= {f"loss_{kind}{s}" for kind in ("classifier", "box_reg") for s in stages}
        assert set(losses) == expected
        sum(losses.values()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name  # or several processes would wait for it
            assert torch.isfinite(parameter.grad).all(), name


def test_predictions_are_torchvisions(model):
    images, _ = batch()
    model.eval()
    model.roi_heads.score_thresh = 0.0
    with torch.no_grad():
        predictions = model(images)
    for image, prediction in zip(images, predictions, strict=True):
        number = len(prediction["boxes"])
        assert number > 0
        assert prediction["masks"].shape == (number, 1, *image.shape[1:])
        assert set(prediction["labels"].tolist()) <= {1, 2, 3}
        assert (prediction["scores"].diff() <= 0).all()
        x1, y1, x2, y2 = prediction["boxes"].unbind(1)
        assert (x1 < x2).all()
        assert (y1 < y2).all()
        assert x2.max() <= image.shape[2] + 1e-3
        assert y2.max() <= image.shape[1] + 1e-3


def test_under_autocast_boxes_are_not_rounded_to_half_precision(model):
    images, _ = batch()
    model.eval()
    model.roi_heads.score_thresh = 0.0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        boxes = model(images)[0]["boxes"]
    assert boxes.dtype == torch.float32
    assert (boxes != boxes.bfloat16().float()).any()


def test_a_thin_picture_keeps_a_pixel(model):
    model.eval()
    with torch.no_grad():
        assert model([torch.rand(3, 1, 900)])[0]["boxes"].shape[1] == 4


def test_bad_keywords_are_refused():
    with pytest.raises(ValueError, match="keyword 'min_sise': did you mean 'min_size'"):
        build_detector("mvitv2_nano", 2, min_sise=64)
    with pytest.raises(ValueError, match="the pyramid needs all four stages"):
        build_detector("mvitv2_nano", 2, backbone={"out_features": ("scale3",)})


def test_no_class_and_unknown_variant_are_refused():
    with pytest.raises(ValueError, match="num_classes 1: must be at least 2"):
        build_detector("mvitv2_nano", 1)
    with pytest.raises(ValueError, match="'mvit_nano': did you mean 'mvitv2_nano'"):
        build_detector("mvit_nano", 2)
