"""Softmax attention in windows with decomposed relative positions: one function, five implementations.

All compute the same: the score of query i and key j of a window is
q_i k_j / sqrt(C) + q_i rel_h[Δh] + q_i rel_w[Δw].

- ``reference`` writes this down; it stores every score, and is the measure for the others.
- ``sdpa`` and ``tiled`` store none. The bias is bilinear, and so a part of the product of wider vectors,
  [q_i / sqrt(C), q_i rel_h, q_i rel_w] and [k_j, one-hot row of j, one-hot column of j]. ``sdpa`` hands
  these to torch's fused attention; ``tiled`` computes one tile of scores after the other.
- ``triton`` and ``native`` store none either: kernels for GPUs and, in C, for CPUs, which add the biases of
  some queries by rows and by columns of keys.

Source: MViTv2 paper, section 4.1, equations 2 to 4.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.ops.autocast import cast
from mvit_det.ops.availability import has_native, has_triton, unavailable_reason
from mvit_det.ops.constants import one_hot_positions
from mvit_det.ops.native.attention import native_attention
from mvit_det.ops.reference import reference
from mvit_det.ops.tiled import tiled
from mvit_det.ops.windows import partition, unpartition

IMPLEMENTATIONS = ("reference", "sdpa", "tiled", "native", "triton")
# Of the Triton kernels: a tile holds whole rows of keys (a picture's width over 32 px), and must fit a GPU.
MAX_KEYS_IN_ROW, MAX_CHANNELS = 64, 128


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool = False,
    implementation: str = "auto",
) -> Tensor:
    """Attend in windows; a window as large as the map attends globally.

    Windows that reach over the bottom or the right are filled up with zeros, which take part in the
    softmax as in the published models. Under autocast the inputs are cast to its dtype.

    Args:
        q: (N, H, W, heads, C)
        k: (N, h, w, heads, C), in as many windows as ``q``.
        v: as ``k``.
        rel_h: (q_window[0], kv_window[0], C), or None without relative positions.
        rel_w: (q_window[1], kv_window[1], C), or None with ``rel_h``.
        q_window: height and width of a window of queries, tokens.
        kv_window: the same for keys and values.
        residual: add ``q`` to the result: the paper's residual pooling.
        implementation: one of :data:`IMPLEMENTATIONS`, or ``"auto"`` for the one that suits the device.

    Returns:
        (N, H, W, heads, C)

    Raises:
        InputError: if the device or the dtype cannot run the implementation.
    """
    q, k, v = cast(q), cast(k), cast(v)
    if rel_h is not None and rel_w is not None:
        rel_h, rel_w = cast(rel_h), cast(rel_w)
    chosen = choose(implementation, q.device.type, q.dtype, kv_window[1], q.shape[-1])
    functions = {"reference": reference, "sdpa": sdpa, "tiled": tiled, "native": native_attention}
    function = functions.get(chosen, _triton)
    return function(q, k, v, rel_h, rel_w, q_window, kv_window, residual)


def choose(
    implementation: str, device: str, dtype: torch.dtype, keys_in_row: int = 1, channels: int = 1
) -> str:
    """Return the implementation to run: the named one, or with ``"auto"`` the best of those that can.

    Args:
        implementation: one of :data:`IMPLEMENTATIONS`, or ``"auto"``.
        device: type of the device, such as ``"cuda"``.
        dtype: of the queries.
        keys_in_row: width of a window of keys.
        channels: of a head.

    Raises:
        InputError: if the named one cannot run; the message says which can.
    """
    able = ["reference"]
    if device == "cpu":
        able += ["sdpa", "tiled"]
    elif device != "meta" and dtype != torch.float64:  # torch has no fused attention for these
        able += ["sdpa"]
    if implementation in able:  # our kernels need not be tried
        return implementation
    if has_native(device, dtype):
        able += ["native"]
    fits = keys_in_row <= MAX_KEYS_IN_ROW and channels <= MAX_CHANNELS
    if fits and has_triton(device, dtype):
        able += ["triton"]
    if implementation == "auto":
        return able[-1]
    if implementation not in able:
        reason = f"in {str(dtype).removeprefix('torch.')} on {device}"
        if implementation == "triton" and not fits:
            reason += f" with rows of {keys_in_row} keys and heads of {channels} channels"
            reason += f" (at most {MAX_KEYS_IN_ROW} and {MAX_CHANNELS})"
        elif implementation == "triton" and device == "cuda":
            reason += f" ({unavailable_reason('triton') or 'half precision only'})"
        elif implementation == "native" and device == "cpu":
            reason += f" ({unavailable_reason('native') or 'float32 only'})"
        raise InputError(
            f"attention {implementation!r}: cannot run {reason}; expected one of auto, {', '.join(able)}"
        )
    return implementation


def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """:func:`attend` by torch's scaled_dot_product_attention, on heads widened by the bias."""
    map_hw, channels = (q.shape[1], q.shape[2]), q.shape[-1]
    # (N, rows, columns, height, width, heads, C)
    q, k, v = partition(q, q_window), partition(k, kv_window), partition(v, kv_window)
    queries, keys = [q * channels**-0.5], [k]
    if rel_h is not None and rel_w is not None:
        queries.append(torch.einsum("...hwnc,hkc->...hwnk", q, rel_h))
        queries.append(torch.einsum("...hwnc,wkc->...hwnk", q, rel_w))
        positions = one_hot_positions(kv_window, k.dtype, k.device).unflatten(0, kv_window)
        keys.append(positions[:, :, None].expand(*k.shape[:-1], -1))
    # The fused kernels want one width for all three, and on a GPU a multiple of 8.
    width = -(-sum(part.shape[-1] for part in queries) // 8) * 8

    def widened(parts: list[Tensor]) -> Tensor:  # (windows, heads, tokens, width)
        missing = width - sum(part.shape[-1] for part in parts)
        parts = [*parts, parts[0].new_zeros(()).expand(*parts[0].shape[:-1], missing)]
        return torch.cat(parts, dim=-1).flatten(3, 4).flatten(0, 2).transpose(1, 2)

    out = F.scaled_dot_product_attention(widened(queries), widened(keys), widened([v]), scale=1.0)
    out = out[..., :channels].transpose(1, 2).reshape(q.shape)
    return unpartition(out + q if residual else out, map_hw)


def _triton(*arguments: Any) -> Tensor:
    from mvit_det.ops.triton.attention import triton_attention  # Triton is not everywhere

    return triton_attention(*arguments)
