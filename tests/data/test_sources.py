import json

import pytest
from PIL import Image

from mvit_det.data.sources import describe, read_evaluation_set, read_train_and_val
from mvit_det.errors import InputError


@pytest.fixture
def paths(coco_folder):
    return coco_folder / "data.json", coco_folder / "images"


def write(folder, data):
    path = folder / "other.json"
    path.write_text(json.dumps(data))
    return path


def test_json_files_are_read(paths):
    train, val = read_train_and_val(json=paths[0], images=paths[1], val_json=paths[0])
    assert describe(train) == "COCO: 2 images, 2 objects; 2 classes (bolt, nut); masks"
    assert val.images == paths[1]
    assert read_train_and_val(json=paths[0], images=paths[1])[1] is None
    assert read_evaluation_set(json=paths[0], images=paths[1]).num_objects == 2


@pytest.mark.parametrize(("valid", "expected"), [("valid", "val"), ("test", None)])
def test_a_folder_is_read(coco_folder, coco_data, valid, expected):
    folder = coco_folder / "set"
    for name in ("train", valid):
        (folder / name).mkdir(parents=True)
        for image in coco_data["images"]:
            source = coco_folder / "images" / image["file_name"]
            (folder / name / image["file_name"]).write_bytes(source.read_bytes())
        (folder / name / "_annotations.coco.json").write_text(json.dumps(coco_data))
    train, val = read_train_and_val(folder)
    assert describe(train).startswith("COCO, train: 2 images, 2 objects;")
    assert (val.split if val else None) == expected
    evaluation = read_evaluation_set(folder)
    assert evaluation.split == (expected or "test")
    assert evaluation.images == folder / valid


def test_masks_of_some_objects_are_counted(paths, coco_folder, coco_data):
    del coco_data["annotations"][0]["segmentation"]
    train, _ = read_train_and_val(json=write(coco_folder, coco_data), images=paths[1])
    assert describe(train).endswith("boxes, and masks of 1 object")


def test_a_set_without_objects_is_not_trained_on(paths, coco_folder, coco_data):
    coco_data["annotations"] = coco_data["annotations"][2:]
    path = write(coco_folder, coco_data)
    with pytest.raises(InputError, match="no object to train on: its only annotation is a crowd"):
        read_train_and_val(json=path, images=paths[1])
    assert read_evaluation_set(json=path, images=paths[1]).num_objects == 0
    coco_data["annotations"] = []
    with pytest.raises(InputError, match="no object to train on: it has no annotations"):
        read_train_and_val(json=write(coco_folder, coco_data), images=paths[1])


def test_the_categories_of_both_sets_must_be_the_same(paths, coco_folder, coco_data):
    coco_data["categories"][0]["name"] = "washer"
    path = write(coco_folder, coco_data)
    with pytest.raises(
        InputError, match=r"other\.json lacks 'nut'; .*data\.json lacks 'washer'; expected the"
    ):
        read_train_and_val(json=paths[0], images=paths[1], val_json=path)
    coco_data["categories"][0]["name"], coco_data["categories"][1]["name"] = "bolt", "nut"
    path = write(coco_folder, coco_data)
    # Names, not ids, tell which categories are the same.
    train, val = read_train_and_val(json=paths[0], images=paths[1], val_json=path)
    assert train.categories == val.categories == {4: "bolt", 90: "nut"}
    assert [each["category_id"] for each in train.coco.dataset["annotations"]] == [90, 4, 4]
    assert [each["category_id"] for each in val.coco.dataset["annotations"]] == [4, 90, 90]


def test_names_that_are_not_unique_are_not_matched(paths, coco_folder, coco_data):
    for entry in coco_data["categories"]:
        entry["name"] = "nut"
    first = write(coco_folder, coco_data).rename(coco_folder / "first.json")
    coco_data["categories"][0]["id"] = 91
    coco_data["annotations"] = [entry for entry in coco_data["annotations"] if entry["category_id"] != 90]
    with pytest.raises(InputError, match=r"the id 90 is 'nut' in one and 'missing' in the other"):
        read_train_and_val(json=first, images=paths[1], val_json=write(coco_folder, coco_data))


def test_paths_in_the_wrong_place_are_named(paths):
    json_path, images = paths
    with pytest.raises(InputError, match="there is no data"):
        read_train_and_val()
    with pytest.raises(InputError, match=r"images: is a folder; expected a COCO-format JSON .* are swapped"):
        read_train_and_val(json=images, images=json_path)
    with pytest.raises(InputError, match=r"data\.json: images is missing"):
        read_evaluation_set(json=json_path)
    with pytest.raises(InputError, match=r"data\.json: is a file; expected the folder of the images"):
        read_evaluation_set(json=json_path, images=json_path)
    with pytest.raises(InputError, match="expected either a folder, or JSON files"):
        read_train_and_val(images.parent, json_path)
    with pytest.raises(InputError, match=r"val_images .*: needs val_json"):
        read_train_and_val(json=json_path, images=images, val_images=images)


def test_an_error_of_a_set_without_objects_names_the_first_dropped_entry(paths, coco_folder, coco_data):
    for entry in coco_data["annotations"]:
        entry["category_id"] = 5
    other = write(coco_folder, coco_data)
    message = r"it has no annotations; the first entry that was dropped is .*annotations\[0\]\.category_id"
    with pytest.raises(InputError, match=message):
        read_train_and_val(json=other, images=paths[1], drop_invalid=True)


def test_labels_that_are_not_text_are_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe0")
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(InputError, match=r"a\.txt: is not a text file of labels"):
        read_train_and_val(tmp_path)


def test_a_long_name_of_a_class_is_shortened(paths, coco_folder, coco_data):
    coco_data["categories"][0]["name"] = "n" * 1_000_000
    train, _ = read_train_and_val(json=write(coco_folder, coco_data), images=paths[1])
    assert len(describe(train)) < 120
