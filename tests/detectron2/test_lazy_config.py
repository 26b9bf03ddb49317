"""Lazy configs by path and by name, and overrides."""

import shutil

import pytest
import torch
from omegaconf import DictConfig

from mvit_det.detectron2 import config_files, get_config
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.errors import InputError

T_3X = "mask_rcnn_mvitv2_t_3x"


@pytest.mark.parametrize("name", ["cascade_mask_rcnn_mvitv2_t_3x", "vitdet/mask_rcnn_mvitv2_b_in21k_100ep"])
def test_config_by_name_is_the_config_by_path(name):
    cfg = get_config(name)
    assert isinstance(cfg, DictConfig)
    path = config_files.config_folder() / f"{name}.py"
    assert str(cfg) == str(load_config(name)) == str(load_config(str(path)))


def test_existing_file_precedes_a_packaged_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / T_3X).mkdir()  # a folder of this name is not a config
    assert load_config(T_3X).train.seed == 0
    shutil.copytree(config_files.config_folder(), tmp_path / "configs")
    path = tmp_path / "configs" / f"{T_3X}.py"
    path.write_text(path.read_text() + "train.seed = 7\n")
    assert load_config(f"configs/{T_3X}.py").train.seed == 7
    assert load_config(T_3X).train.seed == 0


def test_configs_are_found_in_an_installed_package(tmp_path, monkeypatch):
    shutil.copytree(config_files.config_folder(), tmp_path / "configs")
    monkeypatch.setattr(config_files, "INSTALLED", tmp_path / "configs")
    monkeypatch.setattr(config_files, "CHECKOUT", tmp_path / "missing")
    assert config_files.packaged_config(T_3X) == tmp_path / "configs" / f"{T_3X}.py"
    assert get_config(T_3X).train.seed == 0


def test_unknown_config_raises_with_the_nearest_name(tmp_path):
    nearest = r"unknown config 'mask_rcnn_mvitv2_t_3': did you mean 'mask_rcnn_mvitv2_t_3x'\?"
    for load in (get_config, load_config):
        with pytest.raises(InputError, match=nearest):
            load("mask_rcnn_mvitv2_t_3")
    with pytest.raises(InputError, match="unknown config 'common/train'"):
        get_config("common/train")
    path = str(config_files.config_folder() / "mask_rcnn_mvitv2_t_3.py")
    with pytest.raises(
        InputError, match=r"unknown config .*did you mean .*configs/mask_rcnn_mvitv2_t_3x\.py"
    ):
        load_config(path)
    with pytest.raises(InputError, match=r"did you mean the packaged config 'mask_rcnn_mvitv2_t_3x'\?"):
        load_config(str(tmp_path / "configs/mask_rcnn_mvitv2_t_3x.py"))


def test_config_that_fails_raises_with_its_error(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(\n")
    with pytest.raises(InputError, match=r"broken.py: SyntaxError"):
        load_config(str(broken))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_iters=5", "unknown key 'train.max_iters': did you mean 'train.max_iter'?"),
        (
            "model.backbone.bottom_up.dropp_path_rate=0",
            "did you mean 'model.backbone.bottom_up.drop_path_rate'",
        ),
        (
            "model.backbone.bottom_up.depth.x=0",
            "model.backbone.bottom_up.depth is the value 10 and has no keys",
        ),
        ("trian.seed=1", "did you mean 'train'"),
        ("train.seed", "train.seed: expected key=value"),
        ("train.seed=[1", "train.seed="),
        ("train.scale_to_batch=1", "train.scale_to_batch is 1: expected true or false"),
        ("train.amp=1", "train.amp=1: train.amp is a group of keys: enabled, precision"),
    ],
)
def test_bad_override_raises(override, message):
    with pytest.raises(InputError) as caught:
        load_config(T_3X, [override])
    assert message in str(caught.value)


def test_override_sets_a_keyword_that_the_config_does_not_mention():
    cfg = load_config(T_3X, ["model.backbone.bottom_up.use_rel_pos=False"])
    with torch.device("meta"):
        assert "blocks.0.attn.rel_pos_h" not in build(cfg.model.backbone.bottom_up).state_dict()


def test_a_yaml_config_runs_no_code(tmp_path):
    path, trace = tmp_path / "config.yaml", tmp_path / "trace"
    path.write_text(f"train:\n  steps: !!python/object/apply:os.mkdir [{trace}]\n")
    with pytest.raises(InputError, match="config.yaml: line 2: .*os.mkdir.*only plain data"):
        load_config(str(path))
    assert not trace.exists()
    path.write_text("train: {betas: !!python/tuple [0.9, 0.999]}\n")
    assert load_config(str(path), ["train.betas=[0.8,0.9]"]).train.betas == [0.8, 0.9]
