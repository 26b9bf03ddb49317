"""Softmax attention in windows with decomposed relative positions: one function, six implementations.

All give the same result. The score of query i and key j of a window is

    q_i·k_j / sqrt(C) + q_i·R_h[i, j] + q_i·R_w[i, j]

- ``reference`` follows the definition in plain tensor operations. It stores every score.
- ``sdpa`` calls PyTorch's fused attention, with the biases folded into extra channels of Q and K.
- ``matmul`` does the same with two matrix products. It stores every score, and is meant for models that are
  exported to runtimes without a fused attention.
- ``tiled`` computes one tile of scores at a time, for CPUs.
- ``native`` uses a kernel in C for CPUs, in float32.
- ``triton`` uses kernels for NVIDIA GPUs, in half precision.

All but ``reference`` and ``matmul`` recompute the scores in the backward pass instead of storing them.

Source: MViTv2, arXiv 2112.01526, section 4.1, equations 2 to 4.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.ops.autocast import cast
from mvit_det.ops.availability import has_native, has_triton, unavailable_reason
from mvit_det.ops.native.attention import native_attention
from mvit_det.ops.reference import reference_attention
from mvit_det.ops.relative_bias import RelPos
from mvit_det.ops.sdpa import sdpa_attention
from mvit_det.ops.tiled import tiled_attention

# Limits of the Triton kernels, whose tiles hold whole rows of keys. In global attention a row has one key for
# each 32 px of the image's width (16 px in MViTv1), so that 64 keys cover 2048 px.
MAX_KEYS_PER_ROW, MAX_HEAD_DIM = 64, 128


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos: RelPos | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool = False,
    implementation: str = "auto",
) -> Tensor:
    """Compute attention within windows. A window as large as the map is global attention.

    Maps are padded with zeros at the bottom and the right to whole windows. The padding takes part in the
    softmax, as in the published models. Under autocast the inputs are cast to its dtype.

    Args:
        q: (N, q_h, q_w, heads, C)
        k: (N, kv_h, kv_w, heads, C), with the same number of windows as ``q``.
        v: (N, kv_h, kv_w, heads, C)
        rel_pos: embeddings of the distances between the queries and the keys of a window, or None.
        q_window: height and width of a window of queries, tokens.
        kv_window: height and width of a window of keys and values, tokens.
        residual: add ``q`` to the result (the paper's residual pooling connection).
        implementation: one of :data:`IMPLEMENTATIONS`, or ``"auto"`` for the fastest that can run.

    Returns:
        (N, q_h, q_w, heads, C)

    Raises:
        InputError: if the implementation cannot run on this device or in this dtype.
    """
    q, k, v = cast(q), cast(k), cast(v)
    if rel_pos is not None:
        rel_pos = RelPos(*map(cast, rel_pos))
    name = choose_implementation(implementation, q.device.type, q.dtype, kv_window[1], q.shape[-1])
    return IMPLEMENTATIONS[name](q, k, v, rel_pos, q_window, kv_window, residual)


def choose_implementation(
    implementation: str, device: str, dtype: torch.dtype, keys_per_row: int = 1, head_dim: int = 1
) -> str:
    """Return the implementation to run: the requested one, or with ``"auto"`` the fastest that can run.

    Args:
        implementation: one of :data:`IMPLEMENTATIONS`, or ``"auto"``.
        device: type of the device, such as ``"cuda"``.
        dtype: dtype of the queries.
        keys_per_row: width of a window of keys, tokens.
        head_dim: channels of a head.

    Raises:
        InputError: if the requested one cannot run; the message lists those that can.
    """
    available = ["matmul", "reference"]  # "auto" chooses the last
    if device == "cpu" or (device != "meta" and dtype != torch.float64):  # the others have no fused attention
        available += ["sdpa"]
    if device == "cpu" and not torch.compiler.is_exporting():  # the number of tiles is unknown in an export
        available += ["tiled"]
    if implementation in available:  # before testing the kernels, which compiles them
        return implementation
    if has_native(device, dtype):
        available += ["native"]
    if has_triton(device, dtype) and _fits_triton(keys_per_row, head_dim):
        available += ["triton"]
    if implementation == "auto":
        return available[-1]
    if implementation in available:
        return implementation
    context = f"in {str(dtype).removeprefix('torch.')} on {device}"
    if implementation == "triton" and not _fits_triton(keys_per_row, head_dim):
        context += f" with rows of {keys_per_row} keys and heads of {head_dim} channels"
        context += f" (at most {MAX_KEYS_PER_ROW} and {MAX_HEAD_DIM})"
    elif implementation == "triton" and device == "cuda":
        context += f" ({unavailable_reason('triton') or 'half precision only'})"
    elif implementation == "native" and device == "cpu":
        context += f" ({unavailable_reason('native') or 'float32 only'})"
    raise InputError(
        f"attention {implementation!r}: cannot run {context}; expected one of auto, {', '.join(available)}"
    )


def _fits_triton(keys_per_row: int, head_dim: int) -> bool:
    return keys_per_row <= MAX_KEYS_PER_ROW and head_dim <= MAX_HEAD_DIM


def _triton_attention(*arguments: Any) -> Tensor:
    from mvit_det.ops.triton.attention import triton_attention  # Triton is not installed everywhere

    return triton_attention(*arguments)


# After the functions that it refers to.
IMPLEMENTATIONS: dict[str, Callable[..., Tensor]] = {
    "reference": reference_attention,
    "matmul": partial(sdpa_attention, fused=False),
    "sdpa": sdpa_attention,
    "tiled": tiled_attention,
    "native": native_attention,
    "triton": _triton_attention,
}
