import pytest

from mvit_det.weights.formats import timm


def test_blocks_are_counted_within_their_stage(classifier_weights):
    written = timm.from_our_names(classifier_weights)
    blocks = [key.removesuffix(".norm1.weight") for key in written if key.endswith(".norm1.weight")]
    depths = (1, 2, 2, 1)
    assert blocks == [f"stages.{stage}.blocks.{i}" for stage in range(4) for i in range(depths[stage])]
    assert "head.fc.weight" in written


def test_shortcuts_are_named_after_the_part_that_widens(classifier_weights):
    written = timm.from_our_names(classifier_weights)
    shortcuts = [key for key in written if "shortcut" in key and key.endswith("weight")]
    # Widths double in the attention of the first blocks of stages 2 to 4, or in the MLP before them.
    first = [f"stages.{stage}.blocks.0.shortcut_proj_attn.weight" for stage in (1, 2, 3)]
    last = [f"stages.{stage}.blocks.{i}.shortcut_proj_mlp.weight" for stage, i in ((0, 0), (1, 1), (2, 1))]
    widens_in_attention = written["stages.1.blocks.0.norm1.weight"].shape == (32,)
    assert shortcuts == (first if widens_in_attention else last)


def test_timm_loads_what_is_written(classifier_weights):
    mvitv2 = pytest.importorskip("timm.models.mvitv2", reason="timm is not installed")
    config = mvitv2.MultiScaleVitCfg(
        depths=(1, 2, 2, 1),
        embed_dim=32,
        num_heads=1,
        expand_attn=classifier_weights["blocks.1.norm1.weight"].shape == (32,),
        use_cls_token="cls_token" in classifier_weights,
        use_abs_pos="pos_embed" in classifier_weights,
    )
    model = mvitv2.MultiScaleVit(config, num_classes=10)
    model.load_state_dict(timm.from_our_names(classifier_weights))  # strict
