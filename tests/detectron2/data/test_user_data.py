"""The data sets that the keys under ``data`` of a config name."""

import json
import weakref

import pytest
from detectron2.data import DatasetCatalog
from omegaconf import OmegaConf

from mvit_det.detectron2.data.user_data import (
    categories_of,
    compare_test_size,
    count_classes,
    count_steps,
    has_validation_set,
    log_data,
    mask_format,
    read_split,
    register_split,
    release_training_set,
)
from mvit_det.errors import InputError
from mvit_det.weights.checkpoint import CONFIG_KEY


def keys(root=None, train=None, val=None, images=None, drop_invalid=False):
    """The keys under ``data`` of a config."""
    paths = {"json": None, "images": None}
    paths_of = {"train": {"json": train and str(train), "images": images and str(images)}}
    paths_of["val"] = paths | {"json": val and str(val)}
    return {"root": root and str(root), "drop_invalid": drop_invalid, **paths_of}


def test_values_computed_from_the_training_set(coco_folder):
    data = keys(train=coco_folder / "data.json", images=coco_folder / "images")
    assert categories_of(data) == {4: "bolt", 90: "nut"}
    assert count_classes(data) == 2
    assert count_steps(data, epochs=5, batch_size=4) == 3  # of two images, one of them without objects
    assert mask_format(data) == "bitmask"  # a mask is RLE


def test_another_test_size_than_that_of_the_checkpoint_is_reported():
    resize = {"short_edge_length": 256, "max_size": 427}
    test = {"mapper": {"augmentations": [resize]}}
    cfg = OmegaConf.create({"dataloader": {"test": test}, "train": {"tta": {"enabled": False}}})
    warning = compare_test_size(cfg, {CONFIG_KEY: {"short_side": 128, "long_side": 213}})
    assert warning is not None
    assert (
        "of 256 px and a long side of at most 427 px, but the test size of the checkpoint is 128" in warning
    )
    assert (
        "augmentations.0.short_edge_length=128 dataloader.test.mapper.augmentations.0.max_size=213" in warning
    )
    for entry in ({"short_side": 256, "long_side": 427}, {}, {"short_side": "a"}):
        assert compare_test_size(cfg, {CONFIG_KEY: entry}) is None
    assert compare_test_size(cfg, {}) is None
    cfg.train.tta.enabled = True
    assert compare_test_size(cfg, {CONFIG_KEY: {"short_side": 128, "long_side": 213}}) is None


def test_classes_need_no_images(coco_folder):
    assert count_classes(keys(train=coco_folder / "data.json")) == 2


def test_split_is_registered_once_and_without_a_validation_set_there_is_none(coco_folder):
    data = keys(train=coco_folder / "data.json", images=coco_folder / "images")
    name = register_split(data, "train")
    assert register_split(data, "train") == name
    assert len(DatasetCatalog.get(name)) == 2
    with pytest.raises(InputError, match=r"^data.val.json is not set: add data.val.json="):
        register_split(data, "val")


@pytest.mark.parametrize("split", ["train", "val"])
def test_folder_with_one_split_has_the_classes_of_that_split(coco_folder, split):
    (coco_folder / "data.json").rename(coco_folder / f"{split}.json")
    data = keys(root=coco_folder)
    assert categories_of(data) == {4: "bolt", 90: "nut"}
    assert read_split(data, split).split == split
    if split == "train":
        assert not has_validation_set(OmegaConf.create({"data": data}))


def test_released_training_set_is_freed_and_read_again(coco_folder):
    data = keys(train=coco_folder / "data.json", val=coco_folder / "data.json", images=coco_folder / "images")
    first, val = weakref.ref(read_split(data, "train")), read_split(data, "val")
    register_split(data, "train")
    release_training_set(OmegaConf.create({"data": data}))
    assert first() is None
    assert read_split(data, "val") is val
    assert read_split(data, "train").num_objects == 2


@pytest.mark.parametrize(
    ("num_masks", "message"),
    [(0, "data.json: 0 of 2 objects have a mask"), (1, "data.json: 1 of 2 objects have a mask")],
)
def test_mask_format_of_objects_without_masks_raises(coco_folder, coco_data, num_masks, message):
    for annotation in coco_data["annotations"][num_masks:2]:
        del annotation["segmentation"]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    data = keys(train=coco_folder / "data.json", images=coco_folder / "images")
    with pytest.raises(InputError, match=f"{message}.*use a config such as finetune_faster_rcnn_mvitv2_t"):
        mask_format(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": None}, "data.train.json is not set: add data.train.json="),
        ({"images": None}, "data.train.images is not set"),
        ({"root": "folder"}, "data.root and data.train.json are both set"),
    ],
)
def test_missing_or_superfluous_key_raises(coco_folder, changes, message):
    data = keys(**{"train": coco_folder / "data.json", "images": coco_folder / "images"} | changes)
    with pytest.raises(InputError, match=message):
        register_split(data, "train")


def test_value_that_is_not_a_path_raises(coco_folder):
    with pytest.raises(InputError, match="data.root is 5: expected a path"):
        register_split(keys() | {"root": 5}, "train")


def test_other_categories_in_the_validation_set_raise(coco_folder, coco_data):
    coco_data["categories"][0]["name"] = "screw"
    (coco_folder / "val.json").write_text(json.dumps(coco_data))
    data = keys(train=coco_folder / "data.json", val=coco_folder / "val.json", images=coco_folder / "images")
    with pytest.raises(InputError, match=r"val.json.*categories"):
        register_split(data, "val")


def test_missing_image_raises(coco_folder):
    (coco_folder / "images/a.png").unlink()
    with pytest.raises(InputError, match=r"a.png: no such"):
        register_split(keys(train=coco_folder / "data.json", images=coco_folder / "images"), "train")


def test_a_training_set_whose_objects_were_all_in_dropped_images_raises(coco_folder):
    image = coco_folder / "images/a.png"  # the other one shows no objects
    image.write_bytes(image.read_bytes()[:100])
    data = keys(train=coco_folder / "data.json", images=coco_folder / "images", drop_invalid=True)
    with pytest.raises(InputError, match=r"no object to train on: .* was dropped is .*a\.png: is trunc"):
        register_split(data, "train")


@pytest.mark.parametrize("short_side", [50, 800])
def test_each_kind_of_warning_is_logged(coco_folder, coco_data, tmp_path, caplog, short_side):
    coco_data["categories"].append({"id": 5, "name": "washer"})
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    steps = [{"short_edge_length": short_side, "max_size": 1333}, {"prob": 0.5}]
    cfg = OmegaConf.create(
        {
            "data": keys(train=coco_folder / "data.json", images=coco_folder / "images"),
            "dataloader": {"test": {"mapper": {"augmentations": steps}}},
            "train": {"output_dir": str(tmp_path / "run")},
        }
    )
    with caplog.at_level("INFO"):
        log_data(cfg, ["train"])
    warnings = [message for message in caplog.messages if message.startswith("warning: ")]
    assert any("categories without objects (1), such as" in line for line in warnings)
    assert any("images much smaller" in line and "(2)" in line for line in warnings) == (short_side == 800)
