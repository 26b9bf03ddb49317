"""Exact attention for GPUs as an operator of torch, by the kernels of :mod:`triton_attention_kernels`."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mvit_det.backbone.operators import empty_grads, operator, refuse_gradients
from mvit_det.backbone.relative_bias import relative_biases
from mvit_det.backbone.triton_attention_kernels import attention_kernel, grad_keys_kernel, grad_queries_kernel
from mvit_det.backbone.windows import count_windows

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
    return _forward(q, k, v, rel_h, rel_w, list(q_window), list(kv_window), residual)[0]


def _empty_out(q: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(q) if inputs[-1] else q.new_empty(0), _new_lse(q)


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
    """Return the output and, for the backward pass, more.

    With the residual that is the output without it, whose digits a rounded sum would hide; then the
    log-sum-exp (base 2) of scores, (N, H, W, heads).
    """
    out, attended, lse = _empty_out(q, residual)
    relative = relative_biases(q, rel_h, rel_w, q_window, kv_window)
    biases = [along_axis.biases() for along_axis in relative] or (None, None)
    sizes, constants = _arguments(q, k, q_window, kv_window, FORWARD_QUERIES)
    parts = triton.cdiv(q_window[0] * q_window[1], FORWARD_QUERIES)
    attended_and_sum = (attended, out) if residual else (out, None)
    with torch.cuda.device_of(q):  # else Triton takes the current GPU
        attention_kernel[(count_windows(q, q_window) * parts,)](
            q, k, v, *biases, *attended_and_sum, lse, *sizes, **constants, num_stages=2
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
    attended: Tensor,
    lse: Tensor,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> list[Tensor]:
    """Return the gradients of queries, keys, values and, where there are some, relative positions."""
    relative = relative_biases(q, rel_h, rel_w, q_window, kv_window)
    biases = [along_axis.biases() for along_axis in relative]
    grads = [torch.empty_like(bias) for bias in biases]
    grad, delta = grad.contiguous(), torch.empty_like(lse)
    grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
    sizes, constants = _arguments(q, k, q_window, kv_window, BACKWARD_QUERIES)
    windows = count_windows(q, q_window)
    parts = triton.cdiv(q_window[0] * q_window[1], BACKWARD_QUERIES)
    none = (None, None)
    with torch.cuda.device_of(q):
        grad_queries_kernel[(windows * parts,)](
            q, k, v, *(biases or none), attended, lse, grad, delta, grad_q, *(grads or none), *sizes,
            **constants, RESIDUAL=residual, num_stages=2,
        )  # fmt: skip
        # With more stages registers are spilled.
        grad_keys_kernel[(windows * triton.cdiv(kv_window[0], constants["ROWS"]),)](
            q, k, v, *(biases or none), lse, grad, delta, grad_k, grad_v, *sizes, **constants, num_stages=1
        )
    grads_rel = [along_axis.backward(x, grad_q) for along_axis, x in zip(relative, grads, strict=True)]
    return [grad_q, grad_k, grad_v, *grads_rel]


def _new_lse(q: Tensor) -> Tensor:
    return q.new_empty(q.shape[:-1], dtype=torch.promote_types(q.dtype, torch.float32))


def _arguments(
    q: Tensor, k: Tensor, q_window: list[int], kv_window: list[int], queries: int
) -> tuple[list[int], dict[str, Any]]:
    """Return the values of ``SIZES`` and the constants of a kernel whose tiles have so many ``queries``."""
    channels, columns = q.shape[-1], triton.next_power_of_2(kv_window[1])
    first = max(16, triton.next_power_of_2(channels) // 2)  # a product needs 16
    keys = max(64 if _has_shared_operands(q.device) else 32, columns)
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


def _has_shared_operands(device: torch.device) -> bool:
    """Return whether warps multiply from shared memory; else each has all keys of a tile in registers."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] in (9, 10)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, q_window, kv_window, residual = inputs
    out, attended, lse = output
    ctx.save_for_backward(*tensors, attended if residual else out, lse)
    ctx.options = q_window, kv_window, residual
    ctx.mark_non_differentiable(attended, lse)


def _autograd_backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad, *ctx.saved_tensors, *ctx.options)
    return *grads, *[None] * (8 - len(grads))


torch.library.register_autograd(
    "mvit_det::triton_attention", _autograd_backward, setup_context=_setup_context
)
refuse_gradients("triton_attention_backward")
