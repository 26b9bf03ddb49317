"""Attention for NVIDIA GPUs, with kernels in Triton, as PyTorch operators."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mvit_det.ops.custom_op import empty_grads, operator, register_gradients
from mvit_det.ops.relative_bias import RelPos, relative_axes
from mvit_det.ops.triton.attention_kernels import attention_kernel, grad_keys_kernel, grad_queries_kernel
from mvit_det.ops.windows import count_windows

# Queries in a tile.
FORWARD_QUERIES, BACKWARD_QUERIES = 128, 64
# Keys in a tile: on GPUs whose matrix units read operands from shared memory, and from registers.
SHARED_KEYS, REGISTER_KEYS = 64, 32
QUERIES_PER_WARP = 16  # with fewer, warps of compute capability 9.0 would repeat each other's work


def triton_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos: RelPos | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """Compute :func:`mvit_det.ops.attention.attention` without storing the scores."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    rel_h, rel_w = (None, None) if rel_pos is None else (axis.contiguous() for axis in rel_pos)
    return _forward(q, k, v, rel_h, rel_w, list(q_window), list(kv_window), residual)[0]


def _empty_out(q: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, residual = others
    attended = torch.empty_like(q) if residual else q.new_empty(0)
    lse = q.new_empty(q.shape[:-1], dtype=torch.promote_types(q.dtype, torch.float32))
    return torch.empty_like(q), attended, lse


@operator("triton_attention", _empty_out)
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, and two tensors for the backward pass.

    Returns:
        the output; the output without the residual, kept because their sum is rounded (empty
        if ``residual`` is false); and the log-sum-exp of the scores to base 2, (N, H, W, heads).
    """
    out, attended, lse = _empty_out(q, residual)
    axes = relative_axes(q, RelPos.from_optional(rel_h, rel_w), q_window, kv_window)
    biases = [axis.biases() for axis in axes] or (None, None)
    sizes, constants = _arguments(q, k, q_window, kv_window, FORWARD_QUERIES)
    parts = triton.cdiv(q_window[0] * q_window[1], FORWARD_QUERIES)
    with torch.cuda.device_of(q):  # Triton launches on the current GPU
        attention_kernel[(count_windows(q, q_window) * parts,)](
            q, k, v, *biases, out, attended if residual else None, lse, *sizes, **constants, num_stages=2
        )
    return out, attended, lse


@operator("triton_attention_backward", empty_grads)
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    out: Tensor,
    attended: Tensor,
    lse: Tensor,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> list[Tensor]:
    """Return the gradients of queries, keys, values and, if there are any, relative positions."""
    axes = relative_axes(q, RelPos.from_optional(rel_h, rel_w), q_window, kv_window)
    biases = [axis.biases() for axis in axes] or (None, None)
    grads = [torch.empty_like(bias) for bias in biases if bias is not None]
    attended = attended if residual else out
    grad, delta = grad.contiguous(), torch.empty_like(lse)
    grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
    sizes, constants = _arguments(q, k, q_window, kv_window, BACKWARD_QUERIES)
    windows = count_windows(q, q_window)
    parts = triton.cdiv(q_window[0] * q_window[1], BACKWARD_QUERIES)
    with torch.cuda.device_of(q):
        grad_queries_kernel[(windows * parts,)](
            q, k, v, *biases, attended, lse, grad, delta, grad_q, *(grads or (None, None)), *sizes,
            **constants, RESIDUAL=residual, num_stages=2,
        )  # fmt: skip
        # More pipeline stages would spill registers.
        grad_keys_kernel[(windows * triton.cdiv(kv_window[0], constants["ROWS"]),)](
            q, k, v, *biases, lse, grad, delta, grad_k, grad_v, *sizes, **constants, num_stages=1
        )
    grads_rel = [axis.backward(x, grad_q) for axis, x in zip(axes, grads, strict=True)]
    return [grad_q, grad_k, grad_v, *grads_rel]


register_gradients("triton_attention", _backward)


def _arguments(
    q: Tensor, k: Tensor, q_window: list[int], kv_window: list[int], queries: int
) -> tuple[list[int], dict[str, Any]]:
    """Return the sizes and the compile-time constants of a kernel whose tiles have ``queries`` queries."""
    channels, columns = q.shape[-1], triton.next_power_of_2(kv_window[1])
    first = max(16, triton.next_power_of_2(channels) // 2)  # the least that tl.dot multiplies
    keys = max(SHARED_KEYS if _has_shared_operands(q.device) else REGISTER_KEYS, columns)
    sizes = [*q.shape[1:3], *q_window, *k.shape[1:3], *kv_window, q.shape[3], q.shape[0]]
    return sizes, {
        "SCALE": channels**-0.5,
        "C": channels,
        "C_1": first,
        "C_2": max(16, triton.next_power_of_2(channels - first)),
        "QUERIES": queries,
        "ROWS": keys // columns,
        "COLUMNS": columns,
        "ACC": tl.float64 if q.dtype == torch.float64 else tl.float32,
        "num_warps": queries // QUERIES_PER_WARP,
    }


def _has_shared_operands(device: torch.device) -> bool:
    """Return whether the matrix units of a GPU read operands from shared memory rather than registers."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] in (
        9,
        10,
    )  # Hopper, Blackwell
