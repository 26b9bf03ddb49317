"""Every config builds the model that it names; overrides are checked."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="Detectron2 is not installed")

from detectron2.config import get_cfg
from detectron2.modeling import build_backbone, build_model

from mvit_det.detectron2 import MViTBackbone, add_mvit_config
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"
PARAMETERS = {  # trainable, with COCO's 80 classes; the published ones from Detectron2 and the paper
    "mask_rcnn_mvitv2_t_3x": 43_679_568,
    "mask_rcnn_mvitv2_s_3x": 54_376_464,
    "mask_rcnn_mvitv2_b_3x": 70_978_992,
    "mask_rcnn_mvitv2_l_3x": 232_942_608,
    "cascade_mask_rcnn_mvitv2_t_3x": 75_847_614,
    "cascade_mask_rcnn_mvitv2_s_3x": 86_544_510,
    "cascade_mask_rcnn_mvitv2_b_3x": 103_147_038,
    "cascade_mask_rcnn_mvitv2_b_in21k_3x": 103_147_038,
    "cascade_mask_rcnn_mvitv2_l_in21k_lsj_50ep": 265_110_654,
    "cascade_mask_rcnn_mvitv2_h_in21k_lsj_3x": 718_155_998,
    "cascade_mask_rcnn_mvitv2_l_3x": 269_728_302,
    "mask_rcnn_mvitv1_t_3x": 46_002_672,
    "mask_rcnn_mvitv1_s_3x": 56_662_128,
    "mask_rcnn_mvitv1_b_3x": 73_195_920,
    "vitdet/mask_rcnn_mvitv2_b_in21k_100ep": 72_883_888,
    "vitdet/mask_rcnn_mvitv2_l_in21k_50ep": 234_847_504,
    "vitdet/mask_rcnn_mvitv2_h_in21k_36ep": 687_892_848,
    "vitdet/cascade_mask_rcnn_mvitv2_b_in21k_100ep": 103_149_086,
    "vitdet/cascade_mask_rcnn_mvitv2_l_in21k_50ep": 265_112_702,
    "vitdet/cascade_mask_rcnn_mvitv2_h_in21k_36ep": 718_158_046,
    "finetune_mask_rcnn_mvitv2_t": 43_679_568,
    "mask_rcnn_mvitv2_nano": 2_603_984,
}


def test_every_config_is_in_the_table():
    found = {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.glob("**/*.py")}
    assert {name for name in found if not name.startswith("common/")} == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_config_builds_its_model_and_its_schedule(name):
    cfg = load_config(str(CONFIGS / f"{name}.py"), ["model.roi_heads.num_classes=80"])
    with torch.device("meta"):
        model = build(cfg.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == PARAMETERS[name]
    optimizer_cfg = cfg.optimizer
    optimizer_cfg.params.model = model
    optimizer = build(optimizer_cfg)
    decays = {group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {0.0, 0.1}
    positions = dict(model.named_parameters()).get("backbone.bottom_up.pos_embed")
    if positions is not None:  # MViTv1
        (group,) = (g for g in optimizer.param_groups if any(p is positions for p in g["params"]))
        assert group["weight_decay"] == 0
    schedule = build(cfg.lr_multiplier)
    assert schedule(0.0) == pytest.approx(0.001)
    assert [schedule(where) for where in (0.5, 0.9, 0.97)] == pytest.approx([1.0, 0.1, 0.01])


def test_vitdets_recipe_pads_to_a_square_and_the_other_to_multiples_of_32():
    for name, square in (("vitdet/mask_rcnn_mvitv2_b_in21k_100ep", 1024), ("mask_rcnn_mvitv2_b_3x", 0)):
        with torch.device("meta"):
            backbone = build(load_config(str(CONFIGS / f"{name}.py"), []).model.backbone)
        assert backbone.padding_constraints["square_size"] == square
        assert backbone.size_divisibility == 32
        assert backbone.bottom_up.size_divisibility == 0  # takes any size
        assert backbone.bottom_up.padding_constraints == {}


def test_registry_yacs_and_lazy_config_build_the_same_backbone():
    cfg = yacs_config()
    lazy = build(load_config(str(CONFIGS / "mask_rcnn_mvitv2_t_3x.py"), []).model.backbone)
    torch.manual_seed(0)
    by_name = build_backbone(cfg)
    assert list(by_name.state_dict()) == list(lazy.state_dict())
    lazy.load_state_dict(by_name.state_dict())
    images = torch.randn(1, 3, 64, 96)
    for left, right in zip(by_name.eval()(images).values(), lazy.eval()(images).values(), strict=True):
        assert torch.equal(left, right)
    assert by_name.output_shape() == lazy.output_shape()


def test_yacs_keys_choose_the_variant():
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


def test_the_yaml_builds_with_the_import_alone():
    model = build_model(yacs_config())
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS["mask_rcnn_mvitv2_t_3x"]


def yacs_config():
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / "mask_rcnn_mvitv2_t.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    return cfg


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_iters=5", "unknown key 'train.max_iters': did you mean 'train.max_iter'?"),
        (
            "model.backbone.bottom_up.dropp_path_rate=0",
            "did you mean 'model.backbone.bottom_up.drop_path_rate'",
        ),
        ("model.backbone.bottom_up.depth.x=0", "model.backbone.bottom_up.depth has no keys of its own"),
        ("trian.seed=1", "did you mean 'train'"),
        ("train.seed", "train.seed: expected key=value"),
        ("train.seed=[1", "train.seed="),
    ],
)
def test_a_bad_override_is_named(override, message):
    with pytest.raises(InputError) as caught:
        load_config(str(CONFIGS / "mask_rcnn_mvitv2_t_3x.py"), [override])
    assert message in str(caught.value)


def test_a_keyword_that_the_config_does_not_set_can_be_set():
    cfg = load_config(
        str(CONFIGS / "mask_rcnn_mvitv2_t_3x.py"), ["model.backbone.bottom_up.use_rel_pos=False"]
    )
    with torch.device("meta"):
        assert "blocks.0.attn.rel_pos_h" not in build(cfg.model.backbone.bottom_up).state_dict()


def test_a_config_file_that_is_not_there_or_fails_is_named(tmp_path):
    with pytest.raises(InputError, match=r"unknown config file .*did you mean .*mask_rcnn_mvitv2_t_3x.py"):
        load_config(str(CONFIGS / "mask_rcnn_mvitv2_t_3.py"), [])
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(\n")
    with pytest.raises(InputError, match=r"broken.py: SyntaxError"):
        load_config(str(broken), [])
