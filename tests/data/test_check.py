import json

import pytest
from PIL import Image

from mvit_det.data.check import check_data
from mvit_det.errors import InputError
from tests.data.formats.files import write_files


@pytest.fixture
def folder(coco_data, coco_folder):
    """A folder with a training and a validation set of different images, without problems."""
    (coco_folder / "data.json").rename(coco_folder / "train.json")
    images = [entry | {"file_name": f"val_{entry['file_name']}"} for entry in coco_data["images"]]
    for entry in images:
        size = (entry["width"], entry["height"])
        Image.new("RGB", size, (entry["id"], 0, 0)).save(coco_folder / "images" / entry["file_name"])
    (coco_folder / "val.json").write_text(json.dumps(coco_data | {"images": images}))
    return coco_folder


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def kinds(data, effect="drop"):
    return [problem.kind for problem in data.problems if problem.effect == effect]


def warnings(data):
    """The kinds of the warnings, except that the images of these tests are small."""
    return [kind for kind in kinds(data, "warn") if kind != "small_image"]


def test_data_without_problems(folder):
    data = check_data(folder, read_images=True)
    assert data.format == "COCO"
    assert data.is_usable
    assert not data.errors
    assert not kinds(data) + warnings(data)
    assert kinds(data, "warn") == ["small_image"] * 4
    assert {name: split.num_objects for name, split in data.statistics.items()} == {"train": 2, "val": 2}
    assert data.splits["train"].images == folder / "images"


def test_all_problems_of_all_splits_are_collected(folder):
    def break_train(data):
        data["annotations"][0]["category_id"] = 91
        data["annotations"][1]["bbox"] = [30, 0, 0, 40]

    def break_val(data):
        data["annotations"][0]["bbox"] = [500, 5, 20, 10]
        data["images"][1]["file_name"] = "a.png"

    edit(folder / "train.json", break_train)
    edit(folder / "val.json", break_val)
    data = check_data(folder)
    assert sorted(kinds(data)) == ["box_outside", "empty_box", "unknown_category"]
    assert "shared_image" in kinds(data, "warn")
    assert not data.is_usable
    (shared,) = (problem for problem in data.problems if problem.kind == "shared_image")
    assert shared.file == folder / "images" / "a.png"


def test_warnings_do_not_make_data_unusable(folder):
    edit(folder / "train.json", lambda data: data["categories"].append({"id": 5, "name": "washer"}))
    edit(folder / "val.json", lambda data: data["categories"].append({"id": 5, "name": "washer"}))
    data = check_data(folder)
    assert set(warnings(data)) == {"unused_category"}
    assert data.is_usable


def test_a_split_that_cannot_be_read_does_not_hide_the_others(folder):
    text = (folder / "val.json").read_text()
    (folder / "val.json").write_text(text[:-5])
    data = check_data(folder)
    assert list(data.splits) == ["train"]
    (error,) = data.errors
    assert error.startswith(f"{folder / 'val.json'}: is not JSON")
    assert not data.is_usable


def test_splits_are_compared(folder):
    def change(data):
        data["categories"][0]["name"] = "rivet"
        data["annotations"] = [data["annotations"][2]]

    edit(folder / "train.json", change)
    data = check_data(folder)
    categories, objects = data.errors
    assert "have different categories" in categories
    assert "has no object to train on" in objects
    assert list(data.splits) == ["train", "val"]


def test_a_json_file_without_its_images(folder):
    (folder / "images").rename(folder.parent / "elsewhere")
    data = check_data(folder / "val.json")
    assert warnings(data) == ["images_not_found"]
    assert data.statistics["val"].num_objects == 2
    assert data.is_usable
    assert check_data(folder / "val.json", read_images=True).errors


def test_images_are_read_on_request(folder):
    (folder / "images" / "b.png").write_bytes(b"not an image")
    assert not kinds(check_data(folder))
    calls = []

    def track(items, total, description):
        calls.append((description, total))
        return items

    data = check_data(folder, read_images=True, track=track)
    assert kinds(data) == ["damaged_image"]
    assert [entry["file_name"] for entry in data.splits["train"].coco.dataset["images"]] == ["a.png"]
    assert ("reading the images of train", 2) in calls


def test_a_json_file(folder):
    data = check_data(folder / "val.json")
    assert list(data.splits) == ["val"]
    assert data.splits["val"].images == folder / "images"  # found beside the file
    assert check_data(folder / "val.json", folder / "images").is_usable


def test_what_is_not_data_is_refused(folder):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        check_data(folder / "none.json")
    with pytest.raises(InputError, match=r"none: no such folder"):
        check_data(folder / "none")
    with pytest.raises(InputError, match=r"name the folder of images only with a JSON file"):
        check_data(folder, folder / "images")


def test_all_problems_of_a_set_that_cannot_be_used_are_listed(tmp_path):
    write_files(tmp_path, {"classes.txt": "cat\n", "a.png": None, "b.png": None})
    for name in "ab":
        (tmp_path / f"{name}.txt").write_bytes("0 0.5 0.5 0.1 0.1".encode("utf-16"))
    data = check_data(tmp_path)
    assert kinds(data) == ["bad_label", "bad_label"]
    assert not kinds(data, "warn")
    [error] = data.errors
    assert error.startswith(
        f"{tmp_path}: none of its images can be used; {tmp_path / 'a.txt'}: is not a text"
    )


def test_categories_are_not_called_unused_if_their_objects_cannot_be_read(tmp_path):
    write_files(tmp_path, {"classes.txt": "cat\n", "a.png": None, "a.txt": "0,0.5,0.5,0.1,0.1"})
    data = check_data(tmp_path)
    assert kinds(data) == ["bad_label"]
    assert not kinds(data, "warn")
