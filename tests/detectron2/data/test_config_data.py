"""The data sets that the keys under ``data`` of a config name are read once."""

import shutil

import pytest
from omegaconf import OmegaConf

from mvit_det.detectron2.data.config_data import config_data
from mvit_det.detectron2.data.user_data import log_data, release_training_set


@pytest.fixture
def keys(coco_folder):
    """The keys of two JSON files with the same images."""
    (coco_folder / "data.json").rename(coco_folder / "train.json")
    shutil.copy(coco_folder / "train.json", coco_folder / "val.json")
    paths = {split: {"json": f"{coco_folder}/{split}.json", "images": None} for split in ("train", "val")}
    paths["train"]["images"] = f"{coco_folder}/images"
    return {"root": None, "drop_invalid": False, **paths}


def test_equal_keys_share_their_data_sets(keys):
    assert config_data(keys) is config_data(OmegaConf.create(keys))
    assert config_data(keys) is not config_data(keys | {"drop_invalid": True})


def test_each_file_is_read_once(keys, coco_folder):
    data = config_data(keys)
    assert data.categories == {4: "bolt", 90: "nut"}
    for split in ("train", "val"):
        (coco_folder / f"{split}.json").unlink()
    assert data.train.num_objects == data.val.num_objects == 2


@pytest.mark.parametrize("is_main_process", [True, False])
def test_validation_set_and_classes_outlive_the_training_set(
    keys, coco_folder, tmp_path, monkeypatch, is_main_process
):
    monkeypatch.setattr("detectron2.utils.comm.is_main_process", lambda: is_main_process)
    cfg = OmegaConf.create({"data": keys, "train": {"output_dir": str(tmp_path / "run")}})
    data = config_data(keys)
    assert data.categories == {4: "bolt", 90: "nut"}
    log_data(cfg, ["train", "val"])
    assert (tmp_path / "run").exists() == is_main_process
    release_training_set(cfg)
    shutil.rmtree(coco_folder)
    assert data.val.num_objects == 2
    assert data.categories == {4: "bolt", 90: "nut"}
