"""Conversion of weights, by the command and by the function."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mvit_det import build_classifier
from mvit_det.cli.main import main
from mvit_det.errors import InputError
from mvit_det.torchvision.convert import convert
from mvit_det.torchvision.engine.detector_checkpoint import COCO_CATEGORIES, load_detector
from mvit_det.torchvision.models.detector import build_detector
from mvit_det.weights import load_weights, to_detectron2


def assert_equal(weights, expected):
    assert weights.keys() == expected.keys()
    for key, weight in weights.items():
        assert torch.equal(weight, expected[key]), key


def test_a_round_trip_through_every_format_loses_nothing(trained, tmp_path, capsys):
    path, state = trained
    main(["convert", str(path), str(tmp_path / "first.safetensors")])
    main(["convert", str(tmp_path / "first.safetensors"), str(tmp_path / "detectron2.pth")])
    main(["convert", str(tmp_path / "detectron2.pth"), str(tmp_path / "second.safetensors")])
    assert "wrote" in capsys.readouterr().out
    converted = torch.load(tmp_path / "detectron2.pth", weights_only=True)["model"]
    assert_equal(converted, to_detectron2(state))
    for name in ("first", "second"):
        assert_equal(load_file(tmp_path / f"{name}.safetensors"), state)
        config = json.loads((tmp_path / f"{name}.json").read_text())
        assert config["categories"] == {"3": "cat", "7": "dog"}
    for name in ("best.ckpt", "first.safetensors", "detectron2.pth"):
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

    with pytest.raises(InputError, match=r"out.safetensors: names its classes .*without .*coco.json"):
        convert(str(tmp_path / "out.safetensors"), tmp_path / "again.safetensors", tmp_path / "coco.json")

    assert len(COCO_CATEGORIES) == 80
    assert (COCO_CATEGORIES[1], COCO_CATEGORIES[90]) == ("person", "toothbrush")
    state = to_detectron2(build_detector("mvitv2_nano", 81).state_dict())
    torch.save({"model": state}, tmp_path / "coco.pth")
    assert load_detector(tmp_path / "coco.pth")[1].categories == COCO_CATEGORIES


def test_the_classes_of_a_folder_are_those_of_its_training_set(tmp_path, capsys):
    state = to_detectron2(build_detector("mvitv2_nano", 3).state_dict())
    torch.save({"model": state}, tmp_path / "two.pth")
    for split, (first, second) in {"test": ("ant", "bee"), "train": ("bolt", "nut"), "valid": "cd"}.items():
        folder = tmp_path / "data" / split
        folder.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / "a.png")
        coco = {
            "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
            "annotations": [],
            "categories": [{"id": 1, "name": first}, {"id": 2, "name": second}],
        }
        (folder / "_annotations.coco.json").write_text(json.dumps(coco))
    names = []
    for number in range(3):
        out = tmp_path / f"{number}.safetensors"
        convert(str(tmp_path / "two.pth"), out, tmp_path / "data")
        names.append([*load_detector(out)[1].categories.values()])
        if number < 2:
            shutil.rmtree(tmp_path / "data" / ("train", "valid")[number])
    assert names == [["bolt", "nut"], ["c", "d"], ["ant", "bee"]]
    printed = [line for line in capsys.readouterr().out.splitlines() if "read" in line]
    assert printed == [
        f"{tmp_path / 'data'}: read 2 classes from the {name} set"
        for name in ("training", "validation", "test")
    ]


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
