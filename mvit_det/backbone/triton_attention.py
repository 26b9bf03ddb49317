"""Exact attention for GPUs as an operator of torch, by the kernels of :mod:`triton_attention_kernels`."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mvit_det.backbone.operators import operator, refuse_gradients
from mvit_det.backbone.triton_attention_kernels import attention_kernel, grad_keys_kernel, grad_queries_kernel
from mvit_det.backbone.windows import count_windows, num_windows

# Of a tile. 16 queries a warp: with fewer, warps of compute capability 9.0 would do the same work twice.
FORWARD_QUERIES, BACKWARD_QUERIES, QUERIES_OF_WARP = 128, 64, 16


def triton_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """:func:`mvit_det.backbone.attend.attend` without storing the scores, forward or backward."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    bias_h = bias_w = None
    if rel_h is not None and rel_w is not None:
        # By rows (N * H, W * heads, C) and by columns: no copy of the queries either way.
        rows = q.flatten(2, 3).flatten(0, 1)
        rel_h = _of_map(rel_h, q.shape[1]).repeat(len(q), 1, 1)
        rel_w = _of_map(rel_w, q.shape[2]).repeat_interleave(q.shape[3], dim=0)
        bias_h = rows @ rel_h.mT  # (N * H, W * heads, rows of keys)
        bias_w = rows.transpose(0, 1) @ rel_w.mT  # (W * heads, N * H, columns of keys)
    out, _ = _forward(q, k, v, bias_h, bias_w, list(q_window), list(kv_window))
    # Not in the kernel: its backward pass needs the output itself, of which a rounded sum would hide digits.
    return out + q if residual else out


def _of_map(rel: Tensor, length: int) -> Tensor:
    """Return the relative positions (length, keys, C) of a map's rows or columns, given those of a window."""
    return rel.repeat(num_windows(length, len(rel)), 1, 1)[:length]


def _empty_out(q: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), _new_lse(q)


def _empty_grads(grad: Tensor, *inputs: Any) -> list[Tensor]:
    return [torch.empty_like(x) for x in inputs[:5] if x is not None]


@operator("triton_attention", _empty_out)
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_h: Tensor | None,
    bias_w: Tensor | None,
    q_window: list[int],
    kv_window: list[int],
) -> tuple[Tensor, Tensor]:
    """Return the output and, for the backward pass, the log-sum-exp (base 2) of scores, (N, H, W, heads)."""
    out, lse = torch.empty_like(q), _new_lse(q)
    sizes, constants = _arguments(q, k, q_window, kv_window, FORWARD_QUERIES)
    parts = triton.cdiv(q_window[0] * q_window[1], FORWARD_QUERIES)
    with torch.cuda.device_of(q):  # else Triton takes the current GPU
        attention_kernel[(count_windows(q, q_window) * parts,)](
            q, k, v, bias_h, bias_w, out, lse, *sizes, **constants, num_stages=2
        )
    return out, lse


@operator("triton_attention_backward", _empty_grads)
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_h: Tensor | None,
    bias_w: Tensor | None,
    out: Tensor,
    lse: Tensor,
    q_window: list[int],
    kv_window: list[int],
) -> list[Tensor]:
    """Return the gradients of queries, keys, values and, where there are some, biases."""
    grad, delta = grad.contiguous(), torch.empty_like(lse)
    grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
    grads_bias = [torch.empty_like(bias) for bias in (bias_h, bias_w) if bias is not None]
    sizes, constants = _arguments(q, k, q_window, kv_window, BACKWARD_QUERIES)
    windows = count_windows(q, q_window)
    parts = triton.cdiv(q_window[0] * q_window[1], BACKWARD_QUERIES)
    with torch.cuda.device_of(q):
        grad_queries_kernel[(windows * parts,)](
            q, k, v, bias_h, bias_w, out, lse, grad, delta, grad_q, *(grads_bias or (None, None)), *sizes,
            **constants, num_stages=2,
        )  # fmt: skip
        # With more stages registers are spilled.
        grad_keys_kernel[(windows * triton.cdiv(kv_window[0], constants["ROWS"]),)](
            q, k, v, bias_h, bias_w, lse, grad, delta, grad_k, grad_v, *sizes, **constants, num_stages=1
        )
    return [grad_q, grad_k, grad_v, *grads_bias]


def _new_lse(q: Tensor) -> Tensor:
    return q.new_empty(q.shape[:-1], dtype=torch.promote_types(q.dtype, torch.float32))


def _arguments(
    q: Tensor, k: Tensor, q_window: list[int], kv_window: list[int], queries: int
) -> tuple[list[int], dict[str, Any]]:
    """Return the values of ``SIZES`` and the constants of a kernel whose tiles have so many ``queries``."""
    channels, columns = q.shape[-1], triton.next_power_of_2(kv_window[1])
    first = max(16, triton.next_power_of_2(channels) // 2)  # a product needs 16
    # But for Hopper and its like, each warp has all keys of a tile in its registers.
    reads_shared = q.is_cuda and torch.cuda.get_device_capability(q.device)[0] in (9, 10)
    keys = max(64 if reads_shared else 32, columns)
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
        "num_warps": queries // QUERIES_OF_WARP,
    }


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5], *output)
    ctx.options = inputs[5:]
    ctx.mark_non_differentiable(output[1])


def _autograd_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad, *ctx.saved_tensors, *ctx.options)
    return *grads, *[None] * (7 - len(grads))


torch.library.register_autograd(
    "mvit_det::triton_attention", _autograd_backward, setup_context=_setup_context
)
refuse_gradients("triton_attention_backward")
