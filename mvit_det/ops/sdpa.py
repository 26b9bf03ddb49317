"""Attention with ``torch.nn.functional.scaled_dot_product_attention``."""

import math

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
) -> Tensor:
    """Compute :func:`mvit_det.ops.attention.attention` with PyTorch's fused attention.

    A bias mask would need memory for every score. Instead, extra channels make the bias a part of the dot
    product: [q / sqrt(C), q·R_h, q·R_w] times [k, one-hot row of the key, one-hot column of the key].
    """
    map_hw, channels = (q.shape[1], q.shape[2]), q.shape[-1]
    # (N, rows, columns, height, width, heads, C)
    q, k, v = window_partition(q, q_window), window_partition(k, kv_window), window_partition(v, kv_window)
    queries, keys = [q * channels**-0.5], [k]
    if rel_pos is not None:
        queries.append(torch.einsum("...hwnc,hkc->...hwnk", q, rel_pos.h))
        queries.append(torch.einsum("...hwnc,wkc->...hwnk", q, rel_pos.w))
        positions = one_hot_positions(kv_window, k.dtype, k.device).unflatten(0, kv_window)
        keys.append(positions[:, :, None].expand(*k.shape[:-1], -1))
    # The fused kernels need one width for queries, keys and values, on a GPU a multiple of 8.
    width = 8 * math.ceil(sum(part.shape[-1] for part in queries) / 8)

    def concatenate(parts: list[Tensor]) -> Tensor:
        num_padding = width - sum(part.shape[-1] for part in parts)
        padding = parts[0].new_zeros(()).expand(*parts[0].shape[:-1], num_padding)
        x = torch.cat([*parts, padding], dim=-1)
        return x.flatten(3, 4).flatten(0, 2).transpose(1, 2)  # (windows, heads, tokens, width)

    out = F.scaled_dot_product_attention(concatenate(queries), concatenate(keys), concatenate([v]), scale=1.0)
    out = out[..., :channels].transpose(1, 2).reshape(q.shape)
    return window_unpartition(out + q if residual else out, map_hw)
