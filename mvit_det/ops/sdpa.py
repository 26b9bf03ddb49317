"""Attention with ``torch.nn.functional.scaled_dot_product_attention``, or with two matrix products."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.constants import one_hot_positions
from mvit_det.ops.relative_bias import RelPos
from mvit_det.ops.windows import window_partition, window_unpartition


def sdpa_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos: RelPos | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
    fused: bool = True,
) -> Tensor:
    """Compute :func:`mvit_det.ops.attention.attention` with PyTorch's fused attention.

    A bias mask would need memory for every score. Instead, extra channels make the bias a part of the dot
    product: [q / sqrt(C), q·R_h, q·R_w] times [k, one-hot row of the key, one-hot column of the key].

    If ``fused`` is False, two matrix products replace the fused attention. They store every score.
    """
    q_map, map_hw, channels = q, (q.shape[1], q.shape[2]), q.shape[-1]
    # (N, rows, columns, height, width, heads, C)
    q, k, v = window_partition(q, q_window), window_partition(k, kv_window), window_partition(v, kv_window)
    query_parts, key_parts = [q * channels**-0.5], [k]
    if rel_pos is not None:
        bias_h = q.flatten(4, 5) @ rel_pos.h.mT  # (N, rows, columns, height, width * heads, key rows)
        bias_w = q.transpose(3, 4).flatten(4, 5) @ rel_pos.w.mT  # (..., width, height * heads, key columns)
        query_parts.append(bias_h.unflatten(4, q.shape[4:6]))
        query_parts.append(bias_w.unflatten(4, (q.shape[3], q.shape[5])).transpose(3, 4))
        positions = one_hot_positions(kv_window, k.dtype, k.device).unflatten(0, kv_window)
        key_parts.append(positions[:, :, None].expand(*k.shape[:-1], -1))
    # PyTorch's fused kernels need one width for queries, keys and values, on a GPU a multiple of 8.
    width = (sum(part.shape[-1] for part in query_parts) + 7) // 8 * 8

    def concatenate(parts: list[Tensor]) -> Tensor:
        if fused:
            num_padding = width - sum(part.shape[-1] for part in parts)
            parts = [*parts, parts[0].new_zeros(()).expand(*parts[0].shape[:-1], num_padding)]
        x = torch.cat(parts, dim=-1).flatten(3, 4).flatten(0, 2)  # (windows, tokens, heads, C)
        return x.transpose(1, 2)

    queries, keys, values = concatenate(query_parts), concatenate(key_parts), concatenate([v])
    if fused:
        out = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)[..., :channels]
    else:
        out = (queries @ keys.mT).softmax(-1) @ values
    out = window_unpartition(out.transpose(1, 2).reshape(q.shape), map_hw)
    return out + q_map if residual else out
