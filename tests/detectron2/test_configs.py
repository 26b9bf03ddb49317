"""Every packaged config builds the model and the schedule that its name says."""

import pytest
import torch

from mvit_det.detectron2 import get_config
from mvit_det.detectron2.config_files import config_names
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.heads import HEADS
from mvit_det.recipes import recipe_for

PARAMETERS = {  # trainable, with 80 classes; the published ones are from Detectron2 and the MViTv2 paper
    "faster_rcnn_mvitv2_t_3x": 41_036_288,  # 2,643,280 fewer: 4 x 590,080 + 262,400 + 20,560 of the mask head
    "mask_rcnn_mvitv2_t_3x": 43_679_568,
    "mask_rcnn_mvitv2_s_3x": 54_376_464,
    "mask_rcnn_mvitv2_b_3x": 70_978_992,
    "mask_rcnn_mvitv2_l_3x": 232_942_608,
    "cascade_rcnn_mvitv2_t_3x": 73_203_310,  # 2,644,304 fewer: with 2 x 256 of a batch norm instead of a bias
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
    "lvis/cascade_mask_rcnn_mvitv2_b_in21k_100ep": 106_890_922,
    "lvis/cascade_mask_rcnn_mvitv2_l_in21k_50ep": 268_854_538,
    "lvis/cascade_mask_rcnn_mvitv2_h_in21k_50ep": 721_899_882,
    "finetune_mask_rcnn_mvitv2_t": 43_679_568,
    "finetune_faster_rcnn_mvitv2_t": 41_036_288,
    "faster_rcnn_mvitv2_nano": 2_434_624,  # 169,360 fewer: 4 x 36,928 + 16,448 + 5,200
    "mask_rcnn_mvitv2_nano": 2_603_984,
}


def test_every_config_is_in_the_table():
    assert config_names() == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_config_builds_its_model_and_schedule(name):
    num_classes = 1203 if name.startswith("lvis/") else 80
    cfg = load_config(name, [f"model.roi_heads.num_classes={num_classes}", "train.max_iter=67500"])
    assert set(cfg) - {"data"} == {"dataloader", "lr_multiplier", "model", "optimizer", "train"}
    with torch.device("meta"):
        model = build(cfg.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == PARAMETERS[name]
    cfg.optimizer.params.model = model
    optimizer = build(cfg.optimizer)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.1}
    positions = dict(model.named_parameters()).get("backbone.bottom_up.pos_embed")
    if positions is not None:  # MViTv1
        (group,) = (g for g in optimizer.param_groups if any(p is positions for p in g["params"]))
        assert group["weight_decay"] == 0
    schedule = build(cfg.lr_multiplier)
    assert schedule(0.0) == pytest.approx(0.001)
    assert [schedule(progress) for progress in (0.5, 0.9, 0.97)] == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize("name", ["mask_rcnn_mvitv2_t_3x", "mask_rcnn_mvitv2_nano"])
def test_config_has_the_numbers_of_its_recipe(name):
    cfg = get_config(name)
    recipe = recipe_for("mvitv2_nano" if "nano" in name else "mvitv2_t")
    resize = cfg.dataloader.test.mapper.augmentations[0]
    assert (resize.short_edge_length, resize.max_size) == (recipe.short_side, recipe.long_side)
    assert cfg.train.reference_batch_size == cfg.dataloader.train.total_batch_size == recipe.batch_size
    assert cfg.optimizer.lr == recipe.lr
    assert cfg.model.backbone.out_channels == recipe.channels
    assert cfg.model.roi_heads.box_predictor.input_shape.channels == 4 * recipe.channels
    assert cfg.model.roi_heads.batch_size_per_image == recipe.box_batch_size
    assert tuple(cfg.model.proposal_generator.pre_nms_topk) == recipe.pre_nms_topk
    assert tuple(cfg.model.proposal_generator.post_nms_topk) == recipe.post_nms_topk


@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn"])
def test_config_has_the_numbers_of_its_head(name):
    head = HEADS[name]
    model = get_config(f"{name}_mvitv2_t_3x").model
    assert ("mask_head" in model.roi_heads) == head.has_masks
    assert tuple(model.roi_heads.proposal_matcher.thresholds) == head.iou_thresholds
    assert tuple(model.roi_heads.box_predictor.box2box_transform.weights) == head.box_weights[0]
    assert len(model.roi_heads.box_head.conv_dims) == head.num_box_convs
    assert len(model.proposal_generator.head.conv_dims) == head.num_rpn_convs


@pytest.mark.parametrize(
    ("name", "square"), [("vitdet/mask_rcnn_mvitv2_b_in21k_100ep", 1024), ("mask_rcnn_mvitv2_b_3x", 0)]
)
def test_vitdet_pads_to_a_square_and_others_to_a_multiple_of_32(name, square):
    with torch.device("meta"):
        backbone = build(get_config(name).model.backbone)
    assert backbone.padding_constraints["square_size"] == square
    assert backbone.size_divisibility == 32
    assert backbone.bottom_up.size_divisibility == 0  # takes any size
    assert backbone.bottom_up.padding_constraints == {}
