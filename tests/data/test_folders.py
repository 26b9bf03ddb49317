import json
import re

import numpy as np
import pytest
import supervision
from PIL import Image

from mvit_det.data.average_precision import evaluate
from mvit_det.data.folders import open_folder, read_split
from mvit_det.data.shapes import write_shapes
from mvit_det.errors import InputError


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A folder of shapes, and the same objects without masks written by supervision in other formats."""
    root = tmp_path_factory.mktemp("folders")
    write_shapes(root / "ours", num_train=3, num_val=2)
    for split in ("train", "val"):
        folder = root / "ours"
        dataset = supervision.DetectionDataset.from_coco(
            str(folder / "images"), str(folder / f"{split}.json")
        )
        for detections in dataset.annotations.values():
            detections.mask = None
        yolo, voc, coco = root / "yolo", root / "voc", root / "coco" / split
        dataset.as_yolo(str(yolo / "images" / split), str(yolo / "labels" / split), str(yolo / "data.yaml"))
        dataset.as_pascal_voc(str(voc / split), str(voc / split))
        dataset.as_coco(str(coco), str(coco / "_annotations.coco.json"))
    return root


def objects(dataset):
    """Return (image, class name) -> XYXY boxes, sorted."""
    result = {}
    for annotation in dataset.coco.anns.values():
        image = dataset.coco.imgs[annotation["image_id"]]["file_name"]
        x, y, width, height = annotation["bbox"]
        key = image, dataset.categories[annotation["category_id"]]
        result.setdefault(key, []).append((x, y, x + width, y + height))
    return {key: np.array(sorted(boxes)) for key, boxes in result.items()}


@pytest.mark.parametrize(
    ("name", "form", "error"), [("coco", "COCO", 0.01), ("yolo", "YOLO", 0.01), ("voc", "Pascal VOC", 0.5)]
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_round_trips_keep_boxes_and_classes(shapes, name, form, error, split):
    expected = objects(read_split(open_folder(shapes / "ours"), split))
    folder = open_folder(shapes / name)
    assert folder.format == form
    dataset = read_split(folder, split)
    actual = objects(dataset)
    assert actual.keys() == expected.keys()
    for key, boxes in expected.items():
        np.testing.assert_allclose(actual[key], boxes, atol=error)
    assert (dataset.num_masks, dataset.has_masks) == (0, False)
    assert dataset.problems == ()


def test_polygons_stay_polygons(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "images/a.jpg")
    (tmp_path / "labels/a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.8\n0 0.5 0 1 0.5 0.5 1 0 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [kite]\n")
    dataset = read_split(open_folder(tmp_path), "train")
    assert dataset.has_masks
    assert dataset.coco.anns[1]["segmentation"] == [pytest.approx([20, 10, 100, 10, 100, 80])]
    assert dataset.coco.anns[2]["area"] == pytest.approx(100 * 200 / 2, rel=0.02)


def test_difficult_objects_without_masks_beside_objects_with_masks(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.jpg")
    box = "<name>cat</name><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>60</ymax></bndbox>"
    points = "<x1>11</x1><y1>21</y1><x2>31</x2><y2>21</y2><x3>31</x3><y3>61</y3><x4>11</x4><y4>61</y4>"
    objects = (
        f"<object>{box}<polygon>{points}</polygon></object><object>{box}<difficult>1</difficult></object>"
    )
    (tmp_path / "a.xml").write_text(f"<annotation><filename>a.jpg</filename>{objects}</annotation>")
    dataset = read_split(open_folder(tmp_path), "train")
    assert dataset.has_masks
    mask = dataset.coco.annToRLE(dataset.coco.anns[1])
    result = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 20, 40], "score": 0.9, "segmentation": mask}
    # The second detection lies on the difficult object, and is neither right nor wrong.
    metrics = evaluate(dataset.coco, [result, result | {"score": 0.95}], has_masks=True)
    assert metrics["box"]["AP"] == metrics["mask"]["AP"] == pytest.approx(100)


def add(root, form):
    """Add a data set of one image to a folder."""
    root.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 100)).save(root / "a.jpg")
    if form == "YOLO":
        (root / "data.yaml").write_text("train: .\nnames: [cat]")
        (root / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    elif form == "COCO":
        image = {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}
        data = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        (root / "train.json").write_text(json.dumps(data))


def test_a_folder_of_two_formats(tmp_path):
    add(tmp_path, "YOLO")
    add(tmp_path, "COCO")
    message = (
        r"is a folder of several formats: COCO \(train\) and YOLO \(train\); give the JSON file, data.yaml,"
    )
    with pytest.raises(InputError, match=message):
        open_folder(tmp_path)
    folder = open_folder(tmp_path / "data.yaml")
    assert folder.format == "YOLO"
    assert read_split(folder, "train").num_objects == 1


def test_a_folder_of_no_format(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.jpg")
    (tmp_path / "more").mkdir()
    with pytest.raises(InputError) as error:
        open_folder(tmp_path)
    message = str(error.value)
    assert message.startswith(
        f"{tmp_path}: is no data set; looked for COCO: JSON files with images, annotations"
    )
    assert "YOLO: data.yaml, or classes.txt" in message
    assert "Pascal VOC: XML files" in message
    assert message.endswith("it holds a.jpg, more/")
    assert "\n" not in message


def test_two_data_sets_of_the_same_format_in_one_folder(tmp_path):
    for name in ("VOC2007", "VOC2012"):
        add(tmp_path / name / "JPEGImages", "")
        (tmp_path / name / "Annotations").mkdir()
        (tmp_path / name / "Annotations/a.xml").write_text(
            "<annotation><filename>a.jpg</filename></annotation>"
        )
        (tmp_path / name / "ImageSets/Main").mkdir(parents=True)
        (tmp_path / name / "ImageSets/Main/val.txt").write_text("a\n")
    assert list(open_folder(tmp_path / "VOC2007").splits) == ["val"]
    with pytest.raises(
        InputError, match=re.escape("VOC2007 (Pascal VOC), VOC2012 (Pascal VOC); give one of")
    ):
        open_folder(tmp_path)


def test_a_folder_inside_the_folder(tmp_path):
    add(tmp_path / "export", "YOLO")
    assert open_folder(tmp_path).path == tmp_path / "export"
    add(tmp_path / "other", "COCO")
    with pytest.raises(
        InputError, match=re.escape("holds several data sets: export (YOLO), other (COCO); give")
    ):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "none: no such folder"),
        ("set.zip", "set.zip: is a file; unpack it, and give the folder"),
        ("a.json", "a.json: is a file; expected a folder; give a JSON file as json"),
        ("a.jpg", "a.jpg: is a file; expected a folder or its data.yaml"),
        ("notes.yaml", "notes.yaml: names no classes and images; expected the keys names"),
    ],
)
def test_paths_that_are_no_folder(tmp_path, name, message):
    if name != "none":
        (tmp_path / name).write_text("lr: 1")
    with pytest.raises(InputError, match=message):
        open_folder(tmp_path / name)


def test_a_missing_split_is_named(shapes):
    with pytest.raises(InputError, match="voc: has no test set; as Pascal VOC, it has train, val"):
        read_split(open_folder(shapes / "voc"), "test")


def test_problems_stop_the_run_or_are_dropped(tmp_path):
    add(tmp_path, "YOLO")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n0 5 5 1 1\n")
    folder = open_folder(tmp_path)
    with pytest.raises(InputError, match=r"a.txt: line 2: there is no class 7; expected 0; .*1 more problem"):
        read_split(folder, "train")
    dataset = read_split(folder, "train", drop_invalid=True)
    assert dataset.num_objects == 1
    assert [problem.kind for problem in dataset.problems] == ["unknown_category", "bad_label"]
