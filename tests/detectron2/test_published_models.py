"""Names and shapes in every published file fit the config that uses it. Nothing is downloaded."""

import re
from pathlib import Path

import pytest
import torch

from mvit_det import build_classifier
from mvit_det.detectron2.config_files import config_names
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.torchvision.engine.detector_checkpoint import VITDET_KEY, config_of
from mvit_det.weights import PUBLISHED, load_checkpoint, to_torchvision
from mvit_det.weights.checkpoint import identify_checkpoint
from mvit_det.weights.published import DETECTRON2

DETECTORS = [name for name in PUBLISHED if "rcnn" in name]
ZOO = [name for name in DETECTORS if "/" not in name]  # those that both integrations load


def configs():
    """Yield the name and the content of every packaged config."""
    for name in config_names():
        # The configs for your own data read the number of classes from the data, which is not needed here.
        is_for_user_data = "nano" in name or name.startswith("finetune")
        yield name, load_config(name, ["model.roi_heads.num_classes=80"] if is_for_user_data else [])


def num_millions(model):
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def published_classifier(name):
    """Return the content of a published file, on the meta device."""
    size, images = re.fullmatch(r"MViTv2_(\w)_in(1k|21k)\.pyth", name).groups()
    classifier = build_classifier(
        f"mvitv2_{size.lower()}",
        num_classes=1000 if images == "1k" else 19168,
        class_token=images == "21k",
        dim_mul_in_att=(size, images) != ("L", "1k"),
    )
    state = classifier.state_dict()
    return {"model_state": {re.sub(r"^head\.", "head.projection.", key): w for key, w in state.items()}}


@pytest.mark.slow
def test_initial_checkpoint_fills_the_backbone_of_its_config():
    num_checked = 0
    for config, cfg in configs():
        source = cfg.train.init_checkpoint
        if not source:
            assert "nano" in config or "mvitv1" in config, config
            continue
        assert source.replace("detectron2://", DETECTRON2) in {model.url for model in PUBLISHED.values()}
        name = source.rpartition("/")[2]
        with torch.device("meta"):
            model = build(cfg.model)
            checkpoint = identify_checkpoint(Path(name), published_classifier(name))
        report = load_checkpoint(model, checkpoint)
        backbone = {key for key in model.state_dict() if key.startswith("backbone.bottom_up.")}
        assert backbone - {*report.loaded} == {key for key in backbone if "_norm." in key and "scale" in key}
        assert not report.shape_mismatch, config
        assert not report.resized, config
        num_checked += 1
    assert num_checked > 15


def test_a_detector_has_the_name_of_its_config():
    assert {*DETECTORS} <= {*config_names()}


@pytest.mark.parametrize("name", sorted({*PUBLISHED} - {*DETECTORS}))
def test_a_backbone_has_the_name_of_its_variant_and_the_stated_size(name):
    with torch.device("meta"):
        classifier = build_classifier(name.removesuffix("_in21k"))
    assert PUBLISHED[name].parameters == pytest.approx(num_millions(classifier), rel=0.03)


def test_detectors_of_vitdets_recipe_are_recognized():
    with torch.device("meta"):
        zoo, vitdet = (build(load_config(name).model).state_dict() for name in (ZOO[1], DETECTORS[-3]))
    assert VITDET_KEY in vitdet
    assert VITDET_KEY not in zoo


@pytest.mark.parametrize("name", ZOO)
def test_detector_of_the_model_zoo_loads_in_both_integrations(name):
    cfg = load_config(name)
    with torch.device("meta"):
        model = build(cfg.model)
        checkpoint = identify_checkpoint(
            Path(f"{name}.pkl"), {"model": model.state_dict(), "__author__": "zoo"}
        )
        report = load_checkpoint(build(cfg.model), checkpoint)
        assert len(report.loaded) == len(model.state_dict())
        assert not report.unused
        config = config_of(checkpoint)
        detector = config.build()
    assert PUBLISHED[name].parameters == pytest.approx(num_millions(model), rel=0.03)
    assert config.variant in name.replace("_in21k", "")
    assert config.head == name.partition("_mvitv2")[0]
    assert len(config.categories) == 80
    assert detector.state_dict().keys() == to_torchvision(checkpoint.weights).keys()
    assert len(load_checkpoint(detector, checkpoint).loaded) == len(detector.state_dict())
