import hashlib
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mvit_det.backbone.mvit import build_mvit
from mvit_det.cli.export import add_arguments
from mvit_det.errors import InputError
from mvit_det.export import calibration, export_detector, formats
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig
from mvit_det.weights.checkpoint import CONFIG_KEY
from tests.cli.commands import assert_rejected, file_contents, run_command
from tests.export.plain_format import PlainFormat

CONFIG = {
    "variant": "mvitv2_nano",
    "categories": {1: "circle", 2: "square", 3: "triangle"},
    "head": "mask_rcnn",
    "short_side": 96,
    "long_side": 160,
}


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """A format that takes the place of "torch"."""
    plain = PlainFormat()
    entry = formats.Format("model.pt2", (), "torchvision", plain.write, plain.open)
    monkeypatch.setitem(formats.FORMATS, "torch", entry)
    return plain


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint as training writes it, with random weights."""
    torch.manual_seed(0)
    weights = DetectorConfig(**CONFIG).build().state_dict()
    weights["roi_heads.mask_predictor.mask_fcn_logits.bias"] += 2  # few pixels have a probability around 0.5
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    state = {f"detector.{key}": weight for key, weight in weights.items()}
    torch.save({CONFIG_KEY: CONFIG, "state_dict": state, "epoch": 4}, path)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder with two images of different sizes."""
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name, shape in (("a.png", (60, 80, 3)), ("b.png", (90, 50, 3))):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def arguments(checkpoint, out, *more, format="torch"):
    return ["export", checkpoint, "--format", format, "--out", out, *more]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_export(checkpoint, photos, tmp_path, capfd):
    out = tmp_path / "runs" / "exported"
    run_command(*arguments(checkpoint, out, "--images", photos, "--max-detections", 7, "--min-score", 0.1))
    assert names_in(out) == ["check.json", "detector.json", "model.pt2"]
    assert names_in(out.parent) == ["exported"]
    assert names_in(tmp_path) == ["photos", "runs"]
    description = json.loads((out / "detector.json").read_text())
    assert description.pop("versions").keys() >= {"mvit_det", "torch"}
    assert description == {
        "format_version": 1,
        "format": "torch",
        "precision": "float32",
        "model": "model.pt2",
        "classes": [{"id": 1, "name": "circle"}, {"id": 2, "name": "square"}, {"id": 3, "name": "triangle"}],
        "variant": "mvitv2_nano",
        "head": "mask_rcnn",
        "has_masks": True,
        "short_side": 96,
        "long_side": 160,
        "size_multiple": 32,
        "max_side": 2048,
        "pixel_mean": pytest.approx([123.675, 116.28, 103.53]),
        "pixel_std": pytest.approx([58.395, 57.12, 57.375]),
        "min_score": 0.1,
        "iou_threshold": 0.5,
        "max_detections": 7,
        "mask_threshold": 0.5,
        "checkpoint": {
            "file": "best.ckpt",
            "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        },
    }
    check = json.loads((out / "check.json").read_text())
    assert check["passed"]
    assert check["total"]["num_matched"] == check["total"]["num_export"] == 5 * 7
    assert [(image["name"], image["height"], image["width"]) for image in check["images"]] == [
        ("a.png", 60, 80),
        ("b.png", 90, 50),
        ("a.png, scaled", 60, 60),
        ("b.png, scaled", 54, 50),
        ("a.png, scaled", 60, 40),
    ]
    error = capfd.readouterr().err
    assert "all 5 images" in error
    assert "100.00" in error
    assert f"wrote {out}" in error


def test_a_check_that_fails(plain, checkpoint, photos, tmp_path, capfd):
    plain.score_error = 0.01
    out = tmp_path / "exported"
    with pytest.raises(SystemExit, match="1"):
        run_command(*arguments(checkpoint, out, "--images", photos))
    assert names_in(out) == ["check.json", "detector.json", "model.pt2"]
    check = json.loads((out / "check.json").read_text())
    assert not check["passed"]
    assert check["total"]["score_difference"] == pytest.approx(0.01, abs=1e-5)
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("mvit-det: error: 0.00 % of the detections of the checkpoint and the export match")
    assert "expected 99.5 %. In " in line
    assert "of the export with score " in line


def test_the_average_precision_of_both(checkpoint, data, tmp_path, capfd):
    out = tmp_path / "exported"
    run_command(
        *arguments(checkpoint, out, "--json", data / "val.json", "--images", data / "images"),
        *("--max-detections", 20),
    )
    check = json.loads((out / "check.json").read_text())
    assert [image["name"] for image in check["images"][:3]] == [f"val_000{n}.png" for n in (1, 2, 3)]
    assert len(check["images"]) == 7  # four scaled copies, since all have the same size
    precision = check["average_precision"]
    assert precision["checkpoint"] == precision["export"]
    assert precision["export"]["box"]["AP"] is not None
    assert precision["export"].keys() == {"box", "mask"}
    assert "average precision, %" in capfd.readouterr().err


def test_category_ids_that_differ_from_those_of_the_checkpoint(checkpoint, data, tmp_path):
    annotations = json.loads((data / "val.json").read_text())
    for entry in annotations["categories"]:
        entry["id"] += 10
    for entry in annotations["annotations"]:
        entry["category_id"] += 10
    (tmp_path / "val.json").write_text(json.dumps(annotations))
    check = export_detector(
        checkpoint, "torch", tmp_path / "out", json=tmp_path / "val.json", images=data / "images"
    )
    assert check.average_precision["export"]["box"]["AP"] > 0  # it would be 0 with the ids of the checkpoint


def test_made_images(checkpoint, tmp_path):
    check = export_detector(checkpoint, "torch", tmp_path / "exported", max_detections=5)
    assert check.passed
    assert len({(image.height, image.width) for image in check.images}) == 5


def test_existing_folders(checkpoint, photos, tmp_path, capfd):
    out = tmp_path / "exported"
    out.mkdir()  # an empty folder may exist
    run_command(*arguments(checkpoint, out, "--images", photos))
    before = file_contents(out)
    assert_rejected(capfd, arguments(checkpoint, out), out, "--overwrite")
    assert file_contents(out) == before
    run_command(*arguments(checkpoint, out, "--images", photos, "--min-score", 0.2, "--overwrite"))
    assert json.loads((out / "detector.json").read_text())["min_score"] == 0.2
    assert names_in(tmp_path) == ["exported", "photos"]
    (out / "notes.txt").write_text("mine")
    assert_rejected(capfd, arguments(checkpoint, out, "--overwrite"), "notes.txt", "another folder")
    (tmp_path / "file").write_text("")
    assert_rejected(capfd, arguments(checkpoint, tmp_path / "file"), "is a file")
    assert_rejected(capfd, arguments(checkpoint, tmp_path / "file" / "exported"), "is a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(checkpoint, tmp_path, capfd):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert_rejected(capfd, arguments(checkpoint, tmp_path / "locked" / "exported"), "cannot be written to")


def test_an_error_leaves_nothing_behind(plain, checkpoint, photos, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(plain, "open", fail)
    entry = formats.Format("model.pt2", (), "torchvision", plain.write, fail)
    monkeypatch.setitem(formats.FORMATS, "torch", entry)
    out = tmp_path / "runs" / "exported"
    with pytest.raises(KeyboardInterrupt):
        export_detector(checkpoint, "torch", out, images=photos)
    assert names_in(tmp_path) == ["photos"]


def test_checkpoints_that_are_no_detectors(photos, tmp_path, capfd):
    torch.save(build_mvit("mvitv2_nano").state_dict(), tmp_path / "backbone.pth")
    expected = ("backbone.pth", "expected a whole detector")
    assert_rejected(capfd, arguments(tmp_path / "backbone.pth", tmp_path / "out"), *expected)
    assert_rejected(capfd, arguments(tmp_path / "none.ckpt", tmp_path / "out"), "none.ckpt")
    assert_rejected(capfd, arguments(photos, tmp_path / "out"), "is a folder without")
    assert names_in(tmp_path) == ["backbone.pth", "photos"]


def test_a_detector_of_larger_images(checkpoint, tmp_path):
    state = torch.load(checkpoint)
    torch.save(state | {CONFIG_KEY: CONFIG | {"long_side": 4000}}, tmp_path / "large.ckpt")
    with pytest.raises(InputError, match=r"large.ckpt: scales images to at most 4000 px; .* 2048 px"):
        export_detector(tmp_path / "large.ckpt", "torch", tmp_path / "out")


def test_a_missing_package(checkpoint, tmp_path, capfd, monkeypatch):
    entry = formats.Format("model.pt2", ("no_such_module",), "export", None)
    monkeypatch.setitem(formats.FORMATS, "onnx", entry)
    line = "onnx needs no_such_module, which cannot be imported (ModuleNotFoundError: "
    install = "pip install 'mvit_det[export]'"
    assert_rejected(capfd, arguments(checkpoint, tmp_path / "out", format="onnx"), line, install)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "unknown format 'tflite': .*expected one of aoti, onnx, openvino, torch"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"precision": "int8"}, "precision int8: torch has float32"),
        ({"format": "onnx", "precision": "int8"}, "precision int8: needs images"),
        ({"min_score": 1.5}, "min_score 1.5: must be from 0 to 1"),
        ({"max_detections": 0}, "max_detections 0: must be at least 1"),
        ({"json": "val.json"}, "val.json: .*images"),
        ({"json": "val.json", "images": ["a", "b"]}, "val.json: expected one folder of its images, not 2"),
        ({"images": "missing"}, "missing: no such file or folder"),
        ({"images": []}, "no images"),
    ],
)
def test_bad_options(checkpoint, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        export_detector(checkpoint, **({"format": "torch", "out": tmp_path / "out"} | options))
    assert names_in(tmp_path) == []


def test_bad_images(checkpoint, data, photos, tmp_path, capfd):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    assert_rejected(capfd, arguments(checkpoint, out, "--images", tmp_path / "empty"), "contains no images")
    (photos / "c.png").write_bytes(b"damaged")
    assert_rejected(capfd, arguments(checkpoint, out, "--images", photos), "c.png")
    json_file = ("--json", data / "val.json", "--images", photos)
    assert_rejected(capfd, arguments(checkpoint, out, *json_file), "val_0001.png")
    assert names_in(tmp_path) == ["empty", "photos"]


def test_classes_that_differ(checkpoint, data, tmp_path, capfd):
    annotations = json.loads((data / "val.json").read_text())
    annotations["categories"][0]["name"] = "disc"
    (tmp_path / "val.json").write_text(json.dumps(annotations))
    options = ("--json", tmp_path / "val.json", "--images", data / "images")
    assert_rejected(capfd, arguments(checkpoint, tmp_path / "out", *options), "disc", "circle")


def test_int8(plain, checkpoint, photos, tmp_path, monkeypatch, capfd):
    def write(detector, path, precision, calibration):
        assert precision == "int8"
        assert [(batch["images"].shape, batch["image_sizes"].tolist()) for batch in calibration] == [
            ((1, 3, 96, 128), [[96, 128]]),
            ((1, 3, 160, 96), [[160, 89]]),
        ]
        plain.write(detector, path, precision, calibration)

    plain.score_error = 0.01
    entry = formats.Format("model.pt2", (), "torchvision", write, plain.open, ("float32", "int8"))
    monkeypatch.setitem(formats.FORMATS, "torch", entry)
    out = tmp_path / "out"
    run_command(*arguments(checkpoint, out, "--precision", "int8", "--images", photos))
    assert json.loads((out / "detector.json").read_text())["precision"] == "int8"
    assert "the average precision was not compared" in capfd.readouterr().err
    options = {"images": photos, "precision": "int8", "min_score": 1, "overwrite": True}
    with pytest.raises(InputError, match="the checkpoint detects nothing"):
        export_detector(checkpoint, "torch", out, **options)
    assert json.loads((out / "detector.json").read_text())["min_score"] == 0.05


def test_the_images_of_the_calibration(photos, monkeypatch):
    monkeypatch.setattr(calibration, "MAX_IMAGES", 2)
    images = {name: photos / f"{name[0]}.png" for name in ("a1", "b2", "a3", "b4")}
    batches = list(calibration.calibration_batches(images, 60, 80))
    assert [batch["image_sizes"].tolist() for batch in batches] == [[[60, 80]]] * 2  # a1 and a3


def test_the_formats_of_the_command():
    class Parser:
        choices = {}

        def add_argument(self, name, **options):
            self.choices[name] = options.get("choices")

    add_arguments(Parser())
    assert {*Parser.choices["--format"]} == {*formats.FORMATS}
