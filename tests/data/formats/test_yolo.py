import pytest
from PIL import Image

from mvit_det.data.formats import yolo
from mvit_det.errors import InputError
from tests.data.formats.files import write_files


def boxes(contents):
    """Return file name -> boxes."""
    names = {image["id"]: image["file_name"] for image in contents.data["images"]}
    result = {name: [] for name in names.values()}
    for annotation in contents.data["annotations"]:
        result[names[annotation["image_id"]]].append([round(value, 6) for value in annotation["bbox"]])
    return result


LABEL = "0 0.5 0.5 0.1 0.4\n"
BOX = [90, 30, 20, 40]

# Folder layouts that tools write: the files, and the splits that are expected.
LAYOUTS = {
    "Roboflow": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "\nnc: 1\nnames: ['cat']\n\nroboflow:\n  workspace: cats\n",
        "README.roboflow.txt": "cats\n",
        "train/images/a_jpg.rf.1.jpg": None,
        "train/labels/a_jpg.rf.1.txt": LABEL,
        "valid/images/b_jpg.rf.2.jpg": None,
        "valid/labels/b_jpg.rf.2.txt": LABEL,
    },
    "Roboflow, darknet": {
        "train/_darknet.labels": "cat\n",
        "train/a.jpg": None,
        "train/a.txt": LABEL,
        "valid/_darknet.labels": "cat\n",
        "valid/b.jpg": None,
        "valid/b.txt": LABEL,
    },
    "Ultralytics": {
        "coco8.yaml": "path: ../datasets/coco8\ntrain: images/train\nval: images/val\ntest:\n"
        "names:\n  0: cat\n",
        "images/train/a.jpg": None,
        "images/val/b.jpg": None,
        "labels/train/a.txt": LABEL,
        "labels/val/b.txt": LABEL,
    },
    "CVAT, Ultralytics": {
        "data.yaml": "path: .\ntrain: train.txt\nval: val.txt\nnames:\n  0: cat\n",
        "train.txt": "data/images/train/a.jpg\n",
        "val.txt": "data/images/val/b.jpg\n",
        "images/train/a.jpg": None,
        "images/val/b.jpg": None,
        "labels/train/a.txt": LABEL,
        "labels/val/b.txt": LABEL,
    },
    "CVAT, YOLO 1.1": {
        "obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
        "obj.names": "cat\n",
        "train.txt": "data/obj_train_data/a.jpg\n",
        "valid.txt": "data/obj_valid_data/b.jpg\n",
        "obj_train_data/a.jpg": None,
        "obj_train_data/a.txt": LABEL,
        "obj_valid_data/b.jpg": None,
        "obj_valid_data/b.txt": LABEL,
    },
    "Label Studio": {
        "classes.txt": "cat",
        "notes.json": '{"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}}',
        "images/a.jpg": None,
        "labels/a.txt": "0 0.5 0.5 0.10000000000000003 0.4",
    },
    "labelImg": {"classes.txt": "cat\n", "a.jpg": None, "a.txt": LABEL},
    "classes.txt and splits": {
        "classes.txt": "cat\n",
        "images/train/a.jpg": None,
        "images/val/b.jpg": None,
        "labels/train/a.txt": LABEL,
        "labels/val/b.txt": LABEL,
    },
}


@pytest.mark.parametrize("tool", LAYOUTS)
def test_the_layouts_of_other_tools(tmp_path, tool):
    write_files(tmp_path, LAYOUTS[tool])
    splits = yolo.recognize(tmp_path)
    num_images = sum(content is None for content in LAYOUTS[tool].values())
    assert list(splits) == ["train", "val"][:num_images]
    for split in splits:
        contents = yolo.read(tmp_path, splits, split)
        [(name, found)] = boxes(contents).items()
        assert (contents.images / name).is_file()
        assert found == [BOX]
        assert contents.data["categories"] == [{"id": 0, "name": "cat"}]
        assert contents.problems == []


def test_images_labels_and_ids(tmp_path):
    write_files(
        tmp_path,
        {
            "classes.txt": "cat\ndog\n",
            "images/b.png": None,
            "images/a.png": None,
            "images/c.png": None,
            "images/notes.md": "",
            "labels/b.txt": LABEL + "1 0.25 0.5 0.5 1\n1 0 0 0.5 0 0.5 1\n3 0.5 0.5 0.1 0.1\n",
            "labels/a.txt": "",
            "labels/d.txt": LABEL,
        },
    )
    contents = yolo.read(tmp_path, yolo.recognize(tmp_path), "train")
    assert contents.images == tmp_path / "images"
    assert contents.data["images"] == [
        {
            "id": number,
            "file_name": name,
            "_source": f"{tmp_path}/images/{name}",
            "width": 200,
            "height": 100,
        }
        for number, name in enumerate(("a.png", "b.png", "c.png"), start=1)
    ]
    common = {"image_id": 2, "iscrowd": 0}
    source = tmp_path / "labels/b.txt"
    assert contents.data["annotations"] == [
        {"id": 1, "category_id": 0, "bbox": pytest.approx(BOX), "_source": f"{source}: line 1", **common},
        {"id": 2, "category_id": 1, "bbox": [0, 0, 100, 100], "_source": f"{source}: line 2", **common},
        {
            "id": 3,
            "category_id": 1,
            "bbox": [0, 0, 100, 100],
            "segmentation": [[0, 0, 100, 0, 100, 100]],
            "_source": f"{source}: line 3",
            **common,
        },
    ]
    assert {problem.kind: problem.file.name for problem in contents.problems} == {
        "unused_label_file": "d.txt",
        "missing_label_file": "c.png",
        "unknown_category": "b.txt",
    }


def test_sizes_are_those_of_upright_images(tmp_path):
    write_files(
        tmp_path, {"classes.txt": "cat\n", "images/b.jpg": None, "labels/a.txt": LABEL, "labels/b.txt": LABEL}
    )
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    Image.new("RGB", (200, 100)).save(tmp_path / "images/a.jpg", exif=exif)
    contents = yolo.read(tmp_path, yolo.recognize(tmp_path), "train")
    assert [(image["width"], image["height"]) for image in contents.data["images"]] == [
        (100, 200),
        (200, 100),
    ]
    assert boxes(contents)["a.jpg"] == [[45, 60, 10, 80]]


def test_an_image_that_cannot_be_read_is_left_to_the_check_of_images(tmp_path):
    write_files(tmp_path, {"classes.txt": "cat\n", "images/a.jpg": "no image", "labels/a.txt": LABEL})
    contents = yolo.read(tmp_path, yolo.recognize(tmp_path), "train")
    assert contents.data["images"] == [{"id": 1, "file_name": "a.jpg", "_source": f"{tmp_path}/images/a.jpg"}]
    assert contents.data["annotations"] == []


def test_errors_of_a_whole_set(tmp_path):
    write_files(tmp_path / "a", {"images/a.jpg": None, "labels/a.txt": LABEL})
    assert yolo.recognize(tmp_path / "a") is None
    assert "has labels/ as in YOLO, but no data.yaml and no classes.txt" in yolo.explain(tmp_path / "a")
    write_files(tmp_path / "b", {"data.yaml": "train: images\nnames: [cat]", "images/a.jpg": None})
    with pytest.raises(
        InputError, match="no image of the train split has a label file; expected .*images/a.txt"
    ):
        yolo.read(tmp_path / "b", yolo.recognize(tmp_path / "b"), "train")
    write_files(tmp_path / "c", {"data.yaml": "train: images\nnames: [cat]", "images/a.md": ""})
    with pytest.raises(InputError, match="images: contains no images; the train split of .* is empty"):
        yolo.read(tmp_path / "c", yolo.recognize(tmp_path / "c"), "train")


def test_other_folders_are_not_recognized(tmp_path):
    write_files(tmp_path, {"images/a.jpg": None, "classes.txt": "cat\n", "notes.txt": "hello"})
    assert yolo.recognize(tmp_path) is None


def test_corners_in_place_of_boxes_are_refused(tmp_path):
    corners = "0 0.1 0.1 0.9 0.9\n0 0.5 0.5 0.9 0.9\n0 0.6 0.6 0.8 0.9\n"
    write_files(tmp_path, {"classes.txt": "cat\n", "images/a.png": None, "labels/a.txt": corners})
    with pytest.raises(InputError, match=r"a\.txt: line 1: 0\.1, 0\.1, 0\.9, 0\.9 and all other boxes look"):
        yolo.read(tmp_path, yolo.recognize(tmp_path), "train")
    write_files(tmp_path, {"labels/a.txt": corners + "0 0.9 0.5 0.1 0.1\n"})  # the last is no pair of corners
    assert len(yolo.read(tmp_path, yolo.recognize(tmp_path), "train").data["annotations"]) == 4


def test_keypoints_without_kpt_shape_are_refused(tmp_path):
    label = "0 0.5 0.5 0.2 0.4 0.45 0.4 1 0.55 0.6 2\n"
    write_files(tmp_path, {"classes.txt": "cat\n", "images/a.png": None, "labels/a.txt": label})
    with pytest.raises(InputError, match=r"a\.txt: line 1: 11 values .* a box and 2 keypoints"):
        yolo.read(tmp_path, yolo.recognize(tmp_path), "train")


def test_an_image_whose_labels_are_not_a_file_is_dropped(tmp_path):
    write_files(
        tmp_path, {"classes.txt": "cat\n", "images/a.png": None, "images/b.png": None, "labels/a.txt": LABEL}
    )
    (tmp_path / "labels/b.txt").mkdir()
    contents = yolo.read(tmp_path, yolo.recognize(tmp_path), "train")
    assert boxes(contents) == {"a.png": [BOX]}
    assert [problem.kind for problem in contents.problems] == ["bad_label"]
