import pytest
import torch

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.backbone.block_spec import BlockSpec


def attention(window_size, stride_q=1, stride_kv=2, **keywords):
    block = BlockSpec(8, 16, 16, 2, True, stride_q, stride_kv, window_size, 8, 0.0)
    options = {"residual_pooling": False, "implementation": "auto"} | keywords
    return MultiScaleAttention(
        block,
        pool_kernel=(3, 3),
        qkv_bias=True,
        norm_layer=torch.nn.LayerNorm,
        use_rel_pos=True,
        rel_pos_zero_init=False,
        **options,
    )


def test_a_window_as_large_as_the_map_is_global_attention():
    torch.manual_seed(0)
    windowed, whole = attention(window_size=4), attention(window_size=0)
    whole.load_state_dict(windowed.state_dict())
    x = torch.randn(2, 4, 4, 8)
    torch.testing.assert_close(windowed(x), whole(x))


@pytest.mark.parametrize("stride_q", [1, 2])
def test_pooled_sizes_are_rounded_up(stride_q):
    out = attention(window_size=4, stride_q=stride_q)(torch.randn(1, 5, 9, 8))
    assert out.shape == (1, -(-5 // stride_q), -(-9 // stride_q), 16)


def test_each_head_is_pooled_by_the_same_kernel():
    torch.manual_seed(0)
    layer = attention(window_size=0)
    x = torch.randn(1, 6, 5, 16)
    pooled = layer.pool(x, layer.pool_k, layer.norm_k)  # (1, 3, 3, 2, 8)
    for head in range(2):
        alone = layer.pool_k(x[..., 8 * head : 8 * head + 8].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        torch.testing.assert_close(pooled[..., head, :], layer.norm_k(alone))
