"""Conversion of weights, by the command and by the function."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mvit_det import build_classifier, build_mvit
from mvit_det.cli.main import main
from mvit_det.errors import InputError
from mvit_det.heads import HEADS
from mvit_det.torchvision.convert import convert
from mvit_det.torchvision.engine.detector_checkpoint import COCO_CATEGORIES, KEY, load_detector
from mvit_det.torchvision.models.detector import build_detector
from mvit_det.weights import load_all_weights, load_weights, read_checkpoint, to_detectron2

CONFIG = {
    "variant": "mvitv2_nano",
    "categories": {3: "cat", 7: "dog"},
    "short_side": 256,
    "long_side": 400,
}


@pytest.fixture(params=HEADS)
def trained(request, tmp_path):
    """A checkpoint as training writes it, and the weights of its detector, none of them 0 or 1."""
    torch.manual_seed(0)
    state = build_detector("mvitv2_nano", 3, request.param).state_dict()
    state = {k: w + torch.rand_like(w) if w.is_floating_point() else w + 5 for k, w in state.items()}
    path = tmp_path / "best.ckpt"
    weights = {f"detector.{key}": weight for key, weight in state.items()}
    torch.save({KEY: CONFIG | {"head": request.param}, "state_dict": weights, "epoch": 4}, path)
    return path, state


def assert_equal(weights, expected):
    assert weights.keys() == expected.keys()
    for key, weight in weights.items():
        assert torch.equal(weight, expected[key]), key


def test_a_round_trip_through_every_format_loses_nothing(trained, tmp_path, capsys):
    path, state = trained
    main(["convert", str(path), str(tmp_path / "ours.safetensors")])
    main(["convert", str(tmp_path / "ours.safetensors"), str(tmp_path / "theirs.pth")])
    main(["convert", str(tmp_path / "theirs.pth"), str(tmp_path / "again.safetensors")])
    assert "wrote" in capsys.readouterr().out
    theirs = torch.load(tmp_path / "theirs.pth", weights_only=True)["model"]
    assert_equal(theirs, to_detectron2(state))
    for name in ("ours", "again"):
        assert_equal(load_file(tmp_path / f"{name}.safetensors"), state)
        beside = json.loads((tmp_path / f"{name}.json").read_text())
        assert beside["categories"] == {"3": "cat", "7": "dog"}
    for name in ("best.ckpt", "ours.safetensors", "theirs.pth"):
        detector, config = load_detector(tmp_path / name)
        assert_equal(detector.state_dict(), state)
        assert config.categories == {3: "cat", 7: "dog"}
        assert (config.short_side, config.long_side) == (256, 400)


def test_a_detector_of_detectron2_gets_category_names(tmp_path):
    state = to_detectron2(build_detector("mvitv2_nano", 3).state_dict())
    torch.save({"model": state}, tmp_path / "two.pth")
    with pytest.raises(InputError, match="2 classes but does not name them; .*`mvit-det convert`"):
        convert(str(tmp_path / "two.pth"), tmp_path / "out.safetensors", None)
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [],
        "categories": [{"id": 5, "name": "nut"}, {"id": 2, "name": "bolt"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    convert(str(tmp_path / "two.pth"), tmp_path / "out.safetensors", tmp_path / "coco.json")
    assert load_detector(tmp_path / "out.safetensors")[1].categories == {2: "bolt", 5: "nut"}

    with pytest.raises(InputError, match=r"coco.json: .*out.safetensors has category names already"):
        convert(str(tmp_path / "out.safetensors"), tmp_path / "again.safetensors", tmp_path / "coco.json")

    assert len(COCO_CATEGORIES) == 80
    assert (COCO_CATEGORIES[1], COCO_CATEGORIES[90]) == ("person", "toothbrush")
    state = to_detectron2(build_detector("mvitv2_nano", 81).state_dict())
    torch.save({"model": state}, tmp_path / "coco.pth")
    assert load_detector(tmp_path / "coco.pth")[1].categories == COCO_CATEGORIES


def test_a_classifier_initializes_detectors_of_both_integrations(tmp_path):
    classifier = build_classifier("mvitv2_nano", 10)
    torch.save(classifier.state_dict(), tmp_path / "classes.pth")
    convert(str(tmp_path / "classes.pth"), tmp_path / "a.safetensors", None)
    convert(str(tmp_path / "classes.pth"), tmp_path / "start.pth", None)
    assert_equal(load_file(tmp_path / "a.safetensors"), classifier.state_dict())
    started = torch.load(tmp_path / "start.pth", weights_only=True)["model"]
    assert torch.equal(
        started["backbone.bottom_up.blocks.0.attn.qkv.weight"], classifier.blocks[0].attn.qkv.weight
    )
    for name in ("a.safetensors", "start.pth"):
        detector = build_detector("mvitv2_nano", 3)
        report = load_weights(detector, tmp_path / name)
        assert torch.equal(
            detector.backbone.body.blocks[3].mlp.fc1.weight, classifier.blocks[3].mlp.fc1.weight
        )
        assert not report.shape_mismatch
        with pytest.raises(InputError, match="expected a whole detector"):
            load_detector(tmp_path / name)


def test_a_detector_initializes_one_with_other_classes_and_a_backbone(trained):
    path, state = trained
    detector = build_detector("mvitv2_nano", 5, read_checkpoint(path).head)
    report = load_weights(detector, path)
    assert report.class_mismatch
    assert all("predictor" in key for key in report.class_mismatch)
    assert not report.shape_mismatch
    assert not report.missing
    assert torch.equal(detector.rpn.head.bbox_pred.weight, state["rpn.head.bbox_pred.weight"])
    backbone = build_mvit("mvitv2_nano")
    report = load_weights(backbone, path)
    assert len(report.loaded) == len(backbone.state_dict())
    assert torch.equal(backbone.scale2_norm.weight, state["backbone.body.scale2_norm.weight"])


def test_existing_files_and_other_suffixes_are_refused(trained, tmp_path):
    path, _ = trained
    with pytest.raises(InputError, match=r"out.onnx: expected a name that ends with .safetensors or .pth"):
        convert(str(path), tmp_path / "out.onnx", None)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out.pth: cannot be written"):
        convert(str(path), tmp_path / "file" / "out.pth", None)
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(InputError, match=r"out.json: exists already"):
        convert(str(path), tmp_path / "out.safetensors", None)


def test_inspect_describes_a_file(trained, capsys):
    path, _ = trained
    main(["inspect", str(path)])
    printed = capsys.readouterr().out
    assert f"{path}: mvitv2_nano, " in printed
    assert "2 classes (mvit_det, torchvision)" in printed
    assert "1,246,112 of them in the backbone" in printed
    assert "categories: {3: 'cat', 7: 'dog'}" in printed
    assert "epoch: 4" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"short_side": "abc"}, "image size of abc px: expected 32 to 10000"),
        ({"short_side": -5}, "image size of -5 px"),
        ({"categories": {}}, "trained on 2 classes but does not name them"),
        ({"categories": {1: "a", 2: "b", 3: "c"}}, "trained on 2 classes but names 3"),
        ({"categories": [1]}, "its configuration is damaged"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused(change, message, trained, tmp_path):
    path, _ = trained
    content = torch.load(path, weights_only=True)
    content[KEY] |= change
    torch.save(content, tmp_path / "changed.ckpt")
    with pytest.raises(InputError, match=f"changed.ckpt: .*{message}"):
        load_detector(tmp_path / "changed.ckpt")


def test_labels_follow_the_order_of_the_category_ids(trained, tmp_path):
    path, _ = trained
    content = torch.load(path, weights_only=True)
    content[KEY] |= {"categories": {10: "b", 9: "a"}}
    torch.save(content, tmp_path / "turned.ckpt")
    assert load_detector(tmp_path / "turned.ckpt")[1].category_ids(torch.tensor([1, 2])) == [9, 10]


def test_weights_that_do_not_fit_completely_change_nothing(trained):
    path, _ = trained
    detector = build_detector("mvitv2_nano", 9, read_checkpoint(path).head)
    before = {key: weight.clone() for key, weight in detector.state_dict().items()}
    with pytest.raises(InputError, match="has other classes in roi_heads"):
        load_all_weights(detector, read_checkpoint(path))
    assert_equal(detector.state_dict(), before)


def test_values_that_are_not_finite_are_refused(tmp_path):
    state = build_mvit("mvitv2_nano").state_dict()
    state["blocks.3.mlp.fc1.bias"][2] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(InputError, match="nan.pth: blocks.3.mlp.fc1.bias holds values that are not finite"):
        load_weights(build_mvit("mvitv2_nano"), tmp_path / "nan.pth")
