"""Attention for CPUs in float32: a kernel in C, compiled on first use, as a PyTorch operator."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from mvit_det.ops.custom_op import empty_grads, operator, register_gradients
from mvit_det.ops.native.library import call_kernel, check_tensor
from mvit_det.ops.relative_bias import RelPos, relative_axes
from mvit_det.ops.windows import count_windows


def native_attention(
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
    return _forward(q, k, v, rel_h, rel_w, list(q_window), list(kv_window), residual)


class _Arguments(ctypes.Structure):
    """The arguments of the kernel, field by field as in ``maps.h``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "heads", "channels")),
        *((name, ctypes.c_int64 * 2) for name in ("q_map", "q_window", "kv_map", "kv_window")),
        *((name, ctypes.c_int64) for name in ("parts", "residual")),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "bias_h", "bias_w", "out")),
        *((f"grad{name}", ctypes.c_void_p) for name in ("", "_q", "_k", "_v", "_bias_h", "_bias_w")),
    ]


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_window: list[int],
    kv_window: list[int],
    num_parts: int,
    residual: bool,
    **others: Tensor | None,
) -> None:
    """Run the kernel, which writes to ``out`` or to the gradients.

    The kernel checks no bounds, so shapes, dtypes and strides are asserted here.
    """
    (n, *q_map, heads, channels), kv_map = q.shape, k.shape[1:3]
    assert k.shape == v.shape == (n, *kv_map, heads, channels), f"q, k, v: {q.shape}, {k.shape}, {v.shape}"
    assert count_windows(q, q_window) == count_windows(k, kv_window), f"windows {q_window} and {kv_window}"
    maps = {name: x for name, x in {"q": q, "k": k, "v": v, **others}.items() if x is not None}
    for name, x in maps.items():
        check_tensor(name, x, torch.float32)
    pairs = ((ctypes.c_int64 * 2)(*hw) for hw in (q_map, q_window, kv_map, kv_window))
    pointers = {name: x.data_ptr() for name, x in maps.items()}
    call_kernel(
        "attention", "attend", _Arguments(n, heads, channels, *pairs, num_parts, residual, **pointers)
    )


def _num_parts(q: Tensor, q_window: list[int]) -> int:
    """Return into how many parts to split the queries of a window, so that all threads have work."""
    return max(1, 4 * torch.get_num_threads() // max(1, count_windows(q, q_window)))


def _empty_out(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q)


@operator("native_attention", _empty_out)
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> Tensor:
    out = torch.empty_like(q)
    axes = relative_axes(q, RelPos.from_optional(rel_h, rel_w), q_window, kv_window)
    bias_h, bias_w = [axis.biases() for axis in axes] or (None, None)
    num_parts = _num_parts(q, q_window)
    _attend(q, k, v, q_window, kv_window, num_parts, residual, bias_h=bias_h, bias_w=bias_w, out=out)
    return out


@operator("native_attention_backward", empty_grads)
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> list[Tensor]:
    """Return the gradients of queries, keys, values and, if there are any, relative positions."""
    axes = relative_axes(q, RelPos.from_optional(rel_h, rel_w), q_window, kv_window)
    num_parts = min(8, _num_parts(q, q_window))  # each part has its own gradients of keys and values
    biases = [axis.biases() for axis in axes]
    grads = [torch.empty_like(bias) for bias in biases]
    (bias_h, bias_w), (grad_bias_h, grad_bias_w) = biases or (None, None), grads or (None, None)
    grad, grad_q = grad.contiguous(), torch.empty_like(q)
    grad_k, grad_v = (x.new_empty(num_parts, *x.shape) for x in (k, v))
    _attend(
        q, k, v, q_window, kv_window, num_parts, residual, bias_h=bias_h, bias_w=bias_w, grad=grad,
        grad_q=grad_q, grad_k=grad_k, grad_v=grad_v, grad_bias_h=grad_bias_h, grad_bias_w=grad_bias_w,
    )  # fmt: skip
    grads_rel = [axis.backward(x, grad_q) for axis, x in zip(axes, grads, strict=True)]
    return [grad_q, *(x[0] if num_parts == 1 else x.sum(0) for x in (grad_k, grad_v)), *grads_rel]


register_gradients("native_attention", _backward)
