"""The registered backbones, and the yacs config that uses them."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone, build_model

from mvit_det.detectron2 import MViTBackbone, add_mvit_config, get_config
from mvit_det.detectron2.config_files import config_folder
from mvit_det.detectron2.lazy_config import build
from mvit_det.errors import InputError


def yacs_config():
    cfg = get_cfg()
    cfg.merge_from_file(str(config_folder() / "mask_rcnn_mvitv2_t.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    return cfg


def test_yacs_and_lazy_config_build_the_same_backbone():
    cfg = yacs_config()
    lazy = build(get_config("mask_rcnn_mvitv2_t_3x").model.backbone)
    torch.manual_seed(0)
    registered = build_backbone(cfg)
    assert list(registered.state_dict()) == list(lazy.state_dict())
    lazy.load_state_dict(registered.state_dict())
    images = torch.randn(1, 3, 64, 96)
    for left, right in zip(registered.eval()(images).values(), lazy.eval()(images).values(), strict=True):
        assert torch.equal(left, right)
    assert registered.output_shape() == lazy.output_shape()


def test_yacs_keys_select_the_variant():
    cfg = yacs_config()
    cfg.MODEL.BACKBONE.NAME = "build_mvit_backbone"
    add_mvit_config(cfg)
    cfg.MODEL.MVIT.NAME = "mvitv2_nano"
    cfg.MODEL.MVIT.OUT_FEATURES = ["scale3", "scale5"]
    cfg.MODEL.MVIT.DROP_PATH_RATE = 0.5
    cfg.MODEL.MVIT.RECOMPUTE = "block"
    backbone = build_backbone(cfg)
    assert isinstance(backbone, MViTBackbone)
    shapes = backbone.output_shape()
    assert {name: (shape.channels, shape.stride) for name, shape in shapes.items()} == {
        "scale3": (64, 8),
        "scale5": (256, 32),
    }
    assert backbone.recompute == "block"
    assert backbone.blocks[-1].drop_path.rate == 0.5
    cfg.MODEL.MVIT.NAME = "mvitv2_x"
    with pytest.raises(InputError, match="unknown variant 'mvitv2_x': did you mean"):
        build_backbone(cfg)


def test_yaml_builds_without_add_mvit_config():
    model = build_model(yacs_config())
    assert sum(p.numel() for p in model.parameters()) == 43_679_568  # Mask R-CNN T
