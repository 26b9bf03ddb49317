"""tools/visualize.py."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from PIL import Image
from pycocotools.coco import COCO

from mvit_det.data.frames import Frame
from mvit_det.detectron2.data.sample_drawing import draw_sample
from mvit_det.detectron2.engine.inference import detect_frames
from mvit_det.detectron2.visualize import main
from mvit_det.errors import InputError
from mvit_det.report.detections import to_entries

TOOL = Path(__file__).parents[2] / "tools" / "visualize.py"


def read_drawings(out):
    return {path.name: np.asarray(Image.open(path)) for path in sorted((out / "pictures").iterdir())}


def test_training_data_is_drawn_in_rgb_for_every_image_format(nano_arguments, tmp_path):
    for image_format in ("RGB", "BGR"):
        override = f"dataloader.train.mapper.image_format={image_format}"
        main(["data", *nano_arguments, override, "--out", str(tmp_path / image_format), "--num", "3"])
    drawn, other = read_drawings(tmp_path / "RGB"), read_drawings(tmp_path / "BGR")
    assert [name[:5] for name in drawn] == ["0000_", "0001_", "0002_"]
    for name, image in drawn.items():
        assert min(image.shape[:2]) == 640  # 64 after augmentation, enlarged
        assert (image == other[name]).all()


@pytest.mark.parametrize("kind", ["polygons", "bitmap", "none"])
def test_sample_is_drawn_with_boxes_and_masks(kind):
    objects = Instances((80, 120))
    objects.gt_boxes = Boxes(torch.tensor([[70.0, 30, 100, 60]]))
    objects.gt_classes = torch.tensor([1])
    polygons = PolygonMasks([[np.array([70.0, 30, 100, 30, 100, 60, 70, 60])]])
    if kind != "none":
        is_bitmap = kind == "bitmap"
        objects.gt_masks = BitMasks.from_polygon_masks(polygons, 80, 120) if is_bitmap else polygons
    sample = {"image": torch.full((3, 80, 120), 128, dtype=torch.uint8), "instances": objects}
    drawn = draw_sample(sample, "RGB", {1: "nut", 2: "bolt"})
    assert drawn.shape == (80 * 6, 120 * 6, 3)  # the longer side has at least 640 px
    changed = (drawn != 128).any(axis=2)
    assert changed[30 * 6 : 60 * 6, 70 * 6].all()  # the frame
    assert changed[40 * 6 : 55 * 6, 75 * 6 : 95 * 6].all() == (kind != "none")
    assert not changed[61 * 6 :].any()


def test_predictions_refer_to_their_images(nano_arguments, shapes, weights_override, tmp_path):
    main(
        [
            "predict",
            str(shapes / "images"),
            "--score",
            "0",
            "--out",
            str(tmp_path),
            *nano_arguments,
            weights_override,
        ]
    )
    described = COCO(tmp_path / "images.json")
    names = {path.name for path in (shapes / "images").iterdir()}
    assert {entry["file_name"] for entry in described.imgs.values()} == names
    assert described.cats[2]["name"] == "square"
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert {entry["image_id"] for entry in entries} <= set(described.imgs)
    described.loadRes(str(tmp_path / "detections.json"))
    for name, image in read_drawings(tmp_path).items():
        assert (image != np.asarray(Image.open(shapes / "images" / name))).any()


def test_the_checkpoint_names_the_classes(nano_arguments, shapes, weights_override, tmp_path):
    path = weights_override.partition("=")[2]
    arguments = ["predict", str(shapes / "images"), "--score", "0", *nano_arguments[:2]]
    arguments += [key for key in nano_arguments if key.startswith(("dataloader.test", "model"))]
    with pytest.raises(InputError, match=r"random\.pth: does not name its classes; add data\.root="):
        main([*arguments, weights_override, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    names = {5: "cat", 2: "dog", 9: "cow"}  # the classes are in the order of the ids
    torch.save(torch.load(path) | {"mvit_det": {"categories": names}}, tmp_path / "named.pth")
    main([*arguments, f"train.init_checkpoint={tmp_path}/named.pth", "--out", str(tmp_path / "out")])
    described = json.loads((tmp_path / "out/images.json").read_text())
    assert described["categories"] == [{"id": id_, "name": names[id_]} for id_ in (2, 5, 9)]
    entries = json.loads((tmp_path / "out/detections.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {2, 5, 9}


def test_a_precision_that_the_device_lacks_is_refused(nano_arguments, shapes, weights_override, tmp_path):
    arguments = [*nano_arguments, weights_override, "train.device=cpu"]
    with pytest.raises(InputError, match="^precision fp16: a CPU computes in float32 or bf16$"):
        main(["predict", str(shapes), "--precision", "fp16", "--out", str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()


def test_detector_receives_its_channel_order_and_classes_become_category_ids():
    def model(samples):
        height, width = samples[0]["height"], samples[0]["width"]
        assert samples[0]["image"][:, 0, 0].tolist() == [3, 2, 1]
        detections = Instances((height, width), pred_boxes=Boxes(torch.tensor([[1.0, 2, 4, 8]])))
        detections.scores, detections.pred_classes = torch.tensor([0.5]), torch.tensor([1])
        return [{"instances": detections}]

    mapper = DatasetMapper(is_train=False, augmentations=[], image_format="BGR")
    frame = Frame(Path("a.png"), "a.png", np.broadcast_to(np.array([1, 2, 3], np.uint8), (10, 20, 3)))
    ((same_frame, detections),) = detect_frames(model, mapper, [4, 90], [frame])
    assert same_frame is frame
    assert to_entries(7, detections) == [
        {"image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 6], "score": 0.5}
    ]


def test_results_are_drawn_beside_the_ground_truth(coco_folder, tmp_path):
    entry = {"image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10], "score": 0.9}
    arguments = ["results", "--json", str(coco_folder / "data.json"), "--images", str(coco_folder / "images")]
    for name, results in (("none", []), ("box", [entry])):
        (tmp_path / f"{name}.json").write_text(json.dumps(results))
        main([*arguments, "--results", str(tmp_path / f"{name}.json"), "--out", str(tmp_path / name)])
    none, box = read_drawings(tmp_path / "none"), read_drawings(tmp_path / "box")
    assert list(box) == ["a.png", "b.png"]
    assert (none["b.png"] == box["b.png"]).all()
    middle = box["a.png"].shape[1] // 2
    assert (none["a.png"][:, :middle] == box["a.png"][:, :middle]).all()
    assert (none["a.png"][:, middle:] != box["a.png"][:, middle:]).any()
    (tmp_path / "box.json").write_text(json.dumps([entry | {"image_id": 8}]))
    with pytest.raises(InputError, match="no entry of images has the id 8"):
        main(
            [
                *arguments,
                "--results",
                str(tmp_path / "box.json"),
                "--out",
                str(tmp_path / "box"),
                "--overwrite",
            ]
        )
    assert (read_drawings(tmp_path / "box")["a.png"] == box["a.png"]).all()


def test_bad_input_raises_before_anything_is_written(nano_arguments, shapes, weights_override, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    source = ["predict", str(shapes / "images"), *nano_arguments, *out]
    with pytest.raises(InputError, match="train.init_checkpoint is not set"):
        main(source)
    with pytest.raises(InputError, match="^mvitv2_t: is a backbone; expected a detector"):
        main([*source, "train.init_checkpoint=mvitv2_t"])
    source.append(weights_override)
    with pytest.raises(InputError, match="num_classes is 80, but the data set has 3 classes"):
        main([*source, "model.roi_heads.num_classes=80"])
    with pytest.raises(InputError, match="score 2: must be from 0 to 1"):
        main([*source, "--score", "2"])
    with pytest.raises(InputError, match="--num 0: must be at least 1"):
        main(["data", *nano_arguments, *out, "--num", "0"])
    assert not (tmp_path / "out").exists()
    (tmp_path / "last_checkpoint").touch()
    with pytest.raises(InputError, match=r"already \w+ a training run"):
        main(["data", *nano_arguments, "--out", str(tmp_path), "--overwrite"])


def test_damaged_image_raises(nano_arguments, shapes, tmp_path):
    (tmp_path / "images").mkdir()
    for path in (shapes / "images").iterdir():
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes()[:200])
    override = f"data.train.images={tmp_path}/images"
    with pytest.raises(InputError, match=r"images/train_\d+\.png: is truncated.* and 7 more"):
        main(["data", *nano_arguments, override, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_tool_prints_one_line_for_bad_input(nano_arguments, tmp_path, monkeypatch, capfd):
    command = [str(TOOL), "data", *nano_arguments, "train.sed=1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(TOOL), run_name="__main__")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("visualize.py: error: ")
    assert "did you mean 'train.seed'?" in lines[0]
