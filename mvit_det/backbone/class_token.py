"""A class token beside the map: how a block of MViT runs with one.

The token is not pooled, but normalised as what is pooled; it takes part in the attention as a query and
as a key, and has no relative positions and no residual pooling. Source: MViT, arXiv 2104.11227,
section 3, and the released classifiers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.backbone.block import MultiScaleBlock
from mvit_det.backbone.rel_pos import relative_rows
from mvit_det.ops.autocast import cast

HW = tuple[int, int]


def run_with_class_token(block: MultiScaleBlock, tokens: Tensor, map_hw: HW) -> tuple[Tensor, HW]:
    """Run a block that attends globally on a class token and a map.

    Args:
        block: one without windows.
        tokens: (N, 1 + H * W, dim), the class token first.
        map_hw: H and W.

    Returns:
        (N, 1 + h * w, dim_out), and h and w.
    """
    assert block.attn.window_size == 0, "a class token has no place in windows"
    q, k, v, skip = block.project(tokens)
    pooled = block.pool(skip[:, 1:].unflatten(1, map_hw))
    skip = torch.cat([skip[:, :1], pooled.flatten(1, 2)], dim=1)
    attended, map_hw = _attend(block.attn, q, k, v, map_hw)
    return block.add(skip, attended), map_hw


def _attend(attn: MultiScaleAttention, q: Tensor, k: Tensor, v: Tensor, map_hw: HW) -> tuple[Tensor, HW]:
    """Map queries, keys and values, (N, 1 + H * W, dim_att), to (N, 1 + h * w, dim_att), and h and w."""
    q, q_hw = _pool(attn, q, attn.pool_q, attn.norm_q, map_hw)
    k, k_hw = _pool(attn, k, attn.pool_k, attn.norm_k, map_hw)
    v, _ = _pool(attn, v, attn.pool_v, attn.norm_v, map_hw)
    bias = _relative_bias(attn, q[:, 1:].unflatten(1, q_hw), k_hw)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias
    ).transpose(1, 2)
    if attn.residual_pooling:
        out = torch.cat([out[:, :1], out[:, 1:] + q[:, 1:]], dim=1)
    return out.flatten(2), q_hw


def _pool(
    attn: MultiScaleAttention, tokens: Tensor, conv: nn.Conv2d | None, norm: nn.Module, map_hw: HW
) -> tuple[Tensor, HW]:
    """Return all tokens in heads, (N, 1 + h * w, heads, C), the map's pooled, and h and w."""
    x = attn.pool(tokens[:, 1:].unflatten(1, map_hw), conv, norm)
    token = norm(tokens[:, :1].unflatten(-1, (attn.num_heads, -1)))
    return cast(torch.cat([token, x.flatten(1, 2)], dim=1)), (x.shape[1], x.shape[2])


def _relative_bias(attn: MultiScaleAttention, q: Tensor, k_hw: HW) -> Tensor | None:
    """Return what relative positions add to the scores of queries (N, h, w, heads, C) and of the token.

    It is (N, heads, 1 + queries, 1 + keys), and 0 in the first row and column.
    """
    if attn.rel_pos_h is None or attn.rel_pos_w is None:
        return None
    rel_h = cast(relative_rows(attn.rel_pos_h, q.shape[1], k_hw[0]))
    rel_w = cast(relative_rows(attn.rel_pos_w, q.shape[2], k_hw[1]))
    bias_h = torch.einsum("nhwmc,hkc->nmhwk", q, rel_h)[..., :, None]
    bias_w = torch.einsum("nhwmc,wkc->nmhwk", q, rel_w)[..., None, :]
    return F.pad((bias_h + bias_w).flatten(4).flatten(2, 3), (1, 0, 1, 0))
