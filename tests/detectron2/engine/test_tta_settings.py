"""Test-time augmentation and soft-NMS by keys of a lazy config."""

import json

import pytest
import torch

from mvit_det import MViT
from mvit_det.detectron2 import train, visualize
from mvit_det.detectron2.engine.tta_settings import check_tta, with_tta
from mvit_det.detectron2.lazy_config import build, get_config
from mvit_det.errors import InputError

TTA = ["train.tta.enabled=True", "train.tta.short_sides=[64,96]", "train.tta.max_size=160"]
DETECT_ALL = "model.roi_heads.box_predictor.test_score_thresh=0.0"


@pytest.fixture
def sizes(monkeypatch):
    """The (height, width) of each batch of images that reaches the backbone."""
    recorded = []
    forward = MViT.forward

    def record(self, images):
        recorded.append(tuple(images.shape[2:]))
        return forward(self, images)

    monkeypatch.setattr(MViT, "forward", record)
    return recorded


def evaluate(nano_arguments, folder, *overrides):
    """Return the results of a run with --eval-only."""
    train.main(["--eval-only", *nano_arguments, f"train.output_dir={folder}", DETECT_ALL, *overrides])
    return json.loads((folder / "inference" / "coco_instances_results.json").read_text())


@pytest.mark.slow
def test_evaluation_with_tta_and_with_soft_nms(nano_arguments, weights_override, sizes, tmp_path):
    plain = evaluate(nano_arguments, tmp_path / "plain", weights_override)
    num_images = len(sizes)
    assert num_images == 4
    assert {min(size) for size in sizes} == {64}
    sizes.clear()
    augmented = evaluate(nano_arguments, tmp_path / "tta", weights_override, *TTA)
    assert len(sizes) == num_images * 4  # two sizes, and both mirrored
    assert {min(size) for size in sizes} == {64, 96}
    soft = evaluate(nano_arguments, tmp_path / "soft", weights_override, "model.roi_heads.soft_nms=gaussian")
    assert {entry["image_id"] for entry in augmented} == {entry["image_id"] for entry in plain}
    assert augmented != plain
    assert len(soft) > len(plain)
    assert all("segmentation" in entry for entry in augmented)


def test_predictions_with_tta(nano_arguments, shapes, weights_override, sizes, tmp_path):
    image = sorted((shapes / "images").iterdir())[0]
    arguments = ["predict", str(image), *nano_arguments, weights_override, DETECT_ALL]
    visualize.main([*arguments, *TTA, "train.tta.flip=False", "--out", str(tmp_path)])
    assert [min(size) for size in sizes] == [64, 96]
    assert json.loads((tmp_path / "detections.json").read_text())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("short_sides=[]", r"train.tta.short_sides is \[\]: expected a list of integers of at least 32"),
        ("short_sides=[800,16]", r"train.tta.short_sides is \[800, 16\]: expected"),
        ("short_sides=800", "train.tta.short_sides is 800: expected a list"),
        ("max_size=big", "train.tta.max_size is 'big': expected an integer of at least 32"),
        ("flip=yes", "train.tta.flip is 'yes': expected true or false"),
    ],
)
def test_bad_values_raise_before_anything_is_written(
    nano_arguments, weights_override, tmp_path, override, message
):
    out = tmp_path / "out"
    arguments = [*nano_arguments, weights_override, f"train.output_dir={out}", *TTA, f"train.tta.{override}"]
    with pytest.raises(InputError, match=message):
        train.main(["--eval-only", *arguments])
    assert not out.exists()


def test_images_that_exceed_the_square_of_a_model_raise():
    cfg = get_config("vitdet/mask_rcnn_mvitv2_b_in21k_100ep")
    with torch.device("meta"):
        model = build(cfg.model)
    assert with_tta(cfg, model) is model
    cfg.train.tta.enabled = True
    with pytest.raises(InputError, match="train.tta.max_size is 4000: must be at most 1024"):
        check_tta(cfg, model)
    cfg.train.tta.max_size = 1024
    assert with_tta(cfg, model).model is model
    assert cfg.dataloader.test.mapper.augmentations == []
