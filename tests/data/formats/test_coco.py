import json
import unicodedata

import pytest

from mvit_det.data.dataset import read_dataset
from mvit_det.data.folders import open_folder, read_split
from mvit_det.data.formats import coco
from mvit_det.data.formats.coco_images import find_image_folder
from mvit_det.errors import InputError
from tests.data.formats.files import write_files


def data(*names, categories=({"id": 1, "name": "cat"},)):
    images = [
        {"id": number, "file_name": name, "width": 200, "height": 100} for number, name in enumerate(names, 1)
    ]
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}]
    return {"images": images, "annotations": annotations, "categories": list(categories)}


def found(root):
    """Return split -> (JSON file, image folder), relative to ``root``."""
    splits = coco.recognize(root)
    return splits and {
        split: (
            each.json.relative_to(root).as_posix(),
            find_image_folder(each.json, split, root, each.folders).relative_to(root).as_posix(),
        )
        for split, each in splits.items()
    }


def test_coco(tmp_path):
    captions = {"images": data("a.jpg")["images"], "annotations": [{"caption": "a cat"}]}
    write_files(
        tmp_path,
        {
            "annotations/instances_train2017.json": data("a.jpg"),
            "annotations/instances_val2017.json": data("b.jpg"),
            "annotations/person_keypoints_train2017.json": data("a.jpg"),
            "annotations/captions_train2017.json": captions,
            "annotations/captions_val2017.json": captions,
            "annotations/image_info_test2017.json": {"images": [], "categories": []},
            "train2017/a.jpg": None,
            "val2017/b.jpg": None,
        },
    )
    assert found(tmp_path) == {
        "train": ("annotations/instances_train2017.json", "train2017"),
        "val": ("annotations/instances_val2017.json", "val2017"),
    }


def test_coco_with_images_in_one_folder_and_equal_names(tmp_path):
    names = [f"{number:03}.jpg" for number in range(3)]
    files = {f"images/{folder}/{name}": None for folder in ("train2017", "val2017") for name in names}
    for split in ("train", "val"):
        files[f"annotations/instances_{split}2017.json"] = data(*names)
    write_files(tmp_path, files)
    assert found(tmp_path) == {
        "train": ("annotations/instances_train2017.json", "images/train2017"),
        "val": ("annotations/instances_val2017.json", "images/val2017"),
    }


def test_roboflow(tmp_path):
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
    ]
    for split in ("train", "valid", "test"):
        write_files(
            tmp_path / split, {"_annotations.coco.json": data("a.jpg", categories=categories), "a.jpg": None}
        )
    assert found(tmp_path) == {
        split: (f"{folder}/_annotations.coco.json", folder)
        for split, folder in (("train", "train"), ("val", "valid"), ("test", "test"))
    }
    val = read_split(open_folder(tmp_path), "val")
    assert val.categories == {1: "cat"}
    [problem] = val.problems
    assert read_dataset(val.source, val.images).problems == val.problems
    assert problem.kind == "placeholder_category"
    assert "'animals'" in problem.message


def test_a_project_with_objects_of_its_own_name_keeps_its_category(tmp_path):
    categories = [
        {"id": 1, "name": "cat", "supercategory": "none"},  # not 0
        {"id": 2, "name": "dog", "supercategory": "cat"},
    ]
    write_files(tmp_path, {"_annotations.coco.json": data("a.jpg", categories=categories), "a.jpg": None})
    assert found(tmp_path) == {"train": ("_annotations.coco.json", ".")}
    assert read_split(open_folder(tmp_path), "train").categories == {1: "cat", 2: "dog"}


@pytest.mark.parametrize("category_id", [0, "0", "animals"])
def test_a_project_category_with_objects_is_kept(category_id, tmp_path):
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
    ]
    contents = data("a.jpg", categories=categories)
    contents["annotations"][0]["category_id"] = category_id
    write_files(tmp_path, {"_annotations.coco.json": contents, "a.jpg": None})
    train = read_split(open_folder(tmp_path), "train")
    assert train.categories == {0: "animals", 1: "cat"}
    assert train.coco.anns[1]["category_id"] == 0


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"train.json": ["a.jpg"], "val.json": ["b.jpg"], "images": ["a.jpg", "b.jpg"]},
            {"train": ("train.json", "images"), "val": ("val.json", "images")},
        ),
        (
            {"nucleiTrain.json": ["a.jpg"], "nucleiVal.json": ["b.jpg"], "images": ["a.jpg", "b.jpg"]},
            {"train": ("nucleiTrain.json", "images"), "val": ("nucleiVal.json", "images")},
        ),
        (  # names without the folders of the images
            {"train.json": ["a.jpg", "b.jpg"], "images/1": ["a.jpg"], "images/2": ["b.jpg"]},
            {"train": ("train.json", "images")},
        ),
        (  # Label Studio
            {"result.json": ["images/a.jpg"], "images": ["a.jpg"]},
            {"train": ("result.json", ".")},
        ),
        (  # CVAT without subsets
            {"annotations/instances_default.json": ["a.jpg"], "images/default": ["a.jpg"]},
            {"train": ("annotations/instances_default.json", "images/default")},
        ),
        (
            {
                "my-cats_training.json": [".\\pics\\a.jpg"],
                "pics": ["a.jpg"],
                "my-cats.validation.json": ["a.jpg"],
            },
            {"train": ("my-cats_training.json", "."), "val": ("my-cats.validation.json", "pics")},
        ),
        (
            {"cats.json": ["a.jpg"], "cats-val.json": ["b.jpg"], "images": ["a.jpg", "b.jpg"]},
            {"train": ("cats.json", "images"), "val": ("cats-val.json", "images")},
        ),
        (  # paths of another machine
            {"train.json": ["/home/me/data/a.jpg", "/home/me/data/b.jpg"], "imgs": ["a.jpg", "b.jpg"]},
            {"train": ("train.json", "imgs")},
        ),
        (  # a copy with some of the images
            {"train.json": ["a.jpg", "b.jpg"], "few": ["a.jpg"], "full": ["a.jpg", "b.jpg"]},
            {"train": ("train.json", "full")},
        ),
        (  # the file of the exact name takes precedence
            {"train.json": ["a.jpg"], "train_small.json": ["a.jpg"], "images": ["a.jpg"]},
            {"train": ("train.json", "images")},
        ),
    ],
)
def test_names_of_users(tmp_path, files, expected):
    for name, names in files.items():
        write_files(
            tmp_path,
            {name: data(*names)} if name.endswith(".json") else {f"{name}/{each}": None for each in names},
        )
    assert found(tmp_path) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings(tmp_path, encoding):
    write_files(tmp_path, {"train.json": json.dumps(data("ä.jpg")).encode(encoding), "imgs/ä.jpg": None})
    assert found(tmp_path) == {"train": ("train.json", "imgs")}


@pytest.mark.parametrize(("stored", "stated"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_images_in_another_unicode_normalization(tmp_path, stored, stated):
    name = unicodedata.normalize(stored, "é.jpg")
    write_files(
        tmp_path, {"train.json": data(f"img/{unicodedata.normalize(stated, 'é.jpg')}"), f"img/{name}": None}
    )
    assert found(tmp_path) == {"train": ("train.json", ".")}
    dataset = read_split(open_folder(tmp_path), "train")
    assert (dataset.images / dataset.coco.imgs[1]["file_name"]).is_file()


def test_a_damaged_file_is_recognized_so_that_its_reader_names_the_damage(tmp_path):
    write_files(tmp_path, {"train.json": json.dumps(data("a.jpg")).encode()[:-60], "a.jpg": None})
    splits = coco.recognize(tmp_path)
    with pytest.raises(InputError, match="train.json: is not JSON"):
        coco.read(tmp_path, splits, "train")


def test_two_files_of_one_split_and_missing_images(tmp_path):
    write_files(
        tmp_path / "a", {"instances_train2014.json": data("a.jpg"), "instances_train2017.json": data("a.jpg")}
    )
    with pytest.raises(
        InputError, match="2014.json and .*2017.json both are the training set; keep one, or name"
    ):
        coco.recognize(tmp_path / "a")
    write_files(tmp_path / "b", {"train.json": data("a.jpg"), "b.jpg": None})
    with pytest.raises(InputError, match=r"train.json: its images, such as 'a.jpg', are neither in .*b nor"):
        coco.read(tmp_path / "b", coco.recognize(tmp_path / "b"), "train")


def test_other_json_files_are_not_recognized(tmp_path):
    write_files(
        tmp_path,
        {"notes.json": {"categories": []}, "a.json": {"shapes": [], "imagePath": "a.jpg"}, "b.json": b""},
    )
    assert coco.recognize(tmp_path) is None
    assert coco.explain(tmp_path) == "a.json does not have the lists images and annotations of COCO"


def test_files_that_are_not_used_are_named(tmp_path):
    write_files(
        tmp_path,
        {"train.json": data("a.jpg"), "dev.json": data("a.jpg"), "val.json.gz": b"\x1f\x8b", "a.jpg": None},
    )
    problems = coco.read(tmp_path, coco.recognize(tmp_path), "train").problems
    assert [(problem.kind, problem.file.name) for problem in problems] == [
        ("unused_annotation_file", "val.json.gz"),
        ("unused_annotation_file", "dev.json"),
    ]
    write_files(tmp_path, {"val.json": b""})
    with pytest.raises(InputError, match=r"val\.json: is not JSON: the file is empty"):
        read_split(open_folder(tmp_path), "val")
