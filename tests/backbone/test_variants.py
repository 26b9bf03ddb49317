from dataclasses import replace

import pytest
import torch

from mvit_det import VARIANTS, build_mvit
from mvit_det.backbone.block_spec import block_specs

NUM_PARAMETERS = {
    "mvitv2_nano": 1_246_112,
    "mvitv2_t": 23_405_664,
    "mvitv2_s": 34_102_560,
    "mvitv2_b": 50_705_088,
    "mvitv2_l": 212_484_384,
    "mvitv2_h": 665_345_408,
    "mvitv1_t": 25_556_736,
    "mvitv1_s": 36_216_192,
    "mvitv1_b": 52_749_984,
}


def schedule(**changes):
    numbers = {
        "embed_dim": 96,
        "depth": 10,
        "num_heads": 1,
        "last_block_indexes": (0, 2, 7, 9),
        "adaptive_kv_stride": 4,
        "adaptive_window_size": 56,
        "input_size": 56,
        "drop_path_rate": 0.9,
        "dim_mul_in_att": True,
        "double_global_kv_stride": True,
        "pool_unstrided_queries": True,
    }
    return block_specs(**(numbers | changes))


def test_every_variant_has_its_number_of_parameters():
    assert set(NUM_PARAMETERS) == set(VARIANTS)
    for name, expected in NUM_PARAMETERS.items():
        with torch.device("meta"):
            model = build_mvit(name)
        assert sum(p.numel() for p in model.parameters()) == expected, name


def test_schedule_of_the_tiny_variant():
    blocks = schedule()
    assert [b.dim for b in blocks] == [96, 96, 192, 192, 384, 384, 384, 384, 384, 768]
    assert [b.dim_out for b in blocks] == [96, 192, 192, 384, 384, 384, 384, 384, 768, 768]
    assert [b.dim_att for b in blocks] == [b.dim_out for b in blocks]
    assert all(b.pool_q for b in blocks)
    assert [b.num_heads for b in blocks] == [1, 2, 2, 4, 4, 4, 4, 4, 8, 8]
    assert [b.stride_q for b in blocks] == [1, 2, 1, 2, 1, 1, 1, 1, 2, 1]
    assert [b.stride_kv for b in blocks] == [4, 2, 4, 1, 1, 1, 1, 2, 1, 1]
    assert [b.window_size for b in blocks] == [56, 56, 0, 28, 14, 14, 14, 0, 14, 0]
    assert [b.input_size for b in blocks] == [56, 56, 28, 28, 14, 14, 14, 14, 14, 7]
    assert [b.drop_path for b in blocks] == pytest.approx([i / 10 for i in range(10)])


def test_width_doubles_in_the_mlp_of_the_block_before():
    blocks = schedule(dim_mul_in_att=False)
    assert [b.dim for b in blocks] == [96, 192, 192, 384, 384, 384, 384, 384, 768, 768]
    assert [b.dim_att for b in blocks] == [b.dim for b in blocks]
    assert [b.dim_out for b in blocks] == [192, 192, 384, 384, 384, 384, 384, 768, 768, 768]
    for block, other in zip(blocks, schedule(), strict=True):  # nothing else changes
        assert replace(block, dim=0, dim_att=0, dim_out=0) == replace(other, dim=0, dim_att=0, dim_out=0)


def test_queries_without_stride_are_not_pooled_in_mvitv1():
    blocks = schedule(pool_unstrided_queries=False)
    assert [b.pool_q for b in blocks] == [False, True, False, True, *[False] * 4, True, False]


def test_global_blocks_with_the_stride_of_their_stage():
    blocks = schedule(double_global_kv_stride=False)
    assert [b.stride_kv for b in blocks] == [4, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    assert [b.window_size for b in blocks] == [56, 56, 0, 28, 14, 14, 14, 0, 14, 0]


def test_without_windows_all_blocks_attend_globally():
    assert [b.window_size for b in schedule(adaptive_window_size=0)] == [0] * 10


@pytest.mark.parametrize("name", ["mvitv1_t", "mvitv1_s", "mvitv1_b"])
def test_mvitv1_has_the_depths_of_mvitv2_and_none_of_its_additions(name):
    ours, newer = VARIANTS[name], VARIANTS[name.replace("v1", "v2")]
    assert ours.last_block_indexes == newer.last_block_indexes
    with torch.device("meta"):
        model = build_mvit(name)
    names = dict(model.named_parameters())
    assert not any("rel_pos" in key for key in names)
    assert sum(key.endswith("pool_q.weight") for key in names) == 3
    assert sum(key.endswith("norm_q.weight") for key in names) == 3
    assert names["pos_embed"].shape == (1, 1 + 56 * 56, 96)
    assert model.out_channels == {"scale2": 192, "scale3": 384, "scale4": 768, "scale5": 768}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"last_block_indexes": (0, 2, 7)}, "four increasing block indexes"),
        ({"last_block_indexes": (0, 7, 2, 9)}, "four increasing block indexes"),
        ({"last_block_indexes": (0, 2, 7, 8)}, "depth - 1 = 9"),
        ({"num_heads": 5}, "multiple of num_heads, 5"),
        ({"adaptive_window_size": 54}, "window of 54 tokens, which its pooling stride 4 does not divide"),
    ],
)
def test_inconsistent_hyperparameters_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        schedule(**changes)


def test_unknown_variant_names_the_nearest():
    with pytest.raises(ValueError, match="'mvitv2-t': did you mean 'mvitv2_t'"):
        build_mvit("mvitv2-t")
