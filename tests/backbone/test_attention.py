import math

import torch

from mvit_det.backbone.attention import MultiScaleAttention, attend
from mvit_det.backbone.variants import BlockSpec


def test_scores_by_hand():
    q = torch.tensor([[[[2.0, 0.0]]]])  # one query
    k = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])  # two keys beside each other
    v = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    rel_h = torch.tensor([[[0.5, 0.0]]])  # the same for both keys
    rel_w = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    first, second = math.exp(2 / math.sqrt(2) + 1), math.exp(0 + 1 + 2)
    share = first / (first + second)
    out = attend(q, k, v, rel_h, rel_w)
    torch.testing.assert_close(out, torch.tensor([[[[share, 1 - share]]]]))


def test_without_relative_positions_it_is_torchs_attention():
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 2, 4, 8), torch.randn(2, 2, 4, 8)
    out = attend(q, k, v, None, None)
    flat = [x.flatten(1, 2) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*flat)
    torch.testing.assert_close(out.flatten(1, 2), expected)


def attention(window_size, stride_q=1, stride_kv=2):
    block = BlockSpec(8, 16, 2, stride_q, stride_kv, window_size, 8, 0.0)
    return MultiScaleAttention(
        block,
        pool_kernel=(3, 3),
        residual_pooling=False,
        qkv_bias=True,
        norm_layer=torch.nn.LayerNorm,
        use_rel_pos=True,
        rel_pos_zero_init=False,
    )


def test_a_window_as_large_as_the_map_is_global_attention():
    torch.manual_seed(0)
    windowed, whole = attention(window_size=4), attention(window_size=0)
    whole.load_state_dict(windowed.state_dict())
    x = torch.randn(2, 4, 4, 8)
    torch.testing.assert_close(windowed(x), whole(x))


def test_pooled_sizes_are_rounded_up():
    for stride_q in (1, 2):
        out = attention(window_size=4, stride_q=stride_q)(torch.randn(1, 5, 9, 8))
        assert out.shape == (1, -(-5 // stride_q), -(-9 // stride_q), 16)
