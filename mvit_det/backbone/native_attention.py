"""Exact attention for CPUs in float32 as an operator of torch: C, compiled where it first runs."""

import ctypes
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mvit_det.backbone.operators import operator
from mvit_det.backbone.windows import num_windows

SOURCE = Path(__file__).with_name("native") / "attention.c"


def native_attention(
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
    return _forward(q, k, v, rel_h, rel_w, list(q_window), list(kv_window), residual)


@cache
def library(*flags: str) -> ctypes.CDLL:
    """Compile the kernel for this processor, in about half a second, and load it.

    Args:
        flags: for the C compiler, which is ``$CC``, or else ``cc``.

    Raises:
        OSError: without a compiler.
        RuntimeError: if it fails; the message is its own.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    options = ["-O3", "-march=native", *flags, "-fopenmp", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "attention.so")
        made = subprocess.run([*compiler, *options, SOURCE, "-o", out, "-lm"], capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(f"{shlex.join(compiler)}: {made.stderr.strip()}")
        loaded = ctypes.CDLL(out)
    loaded.attend.argtypes = [ctypes.POINTER(_Problem)]
    return loaded


class _Problem(ctypes.Structure):  # as in attention.c
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "heads", "channels")),
        *((name, ctypes.c_int64 * 2) for name in ("q_map", "q_window", "kv_map", "kv_window")),
        *((name, ctypes.c_int64) for name in ("parts", "residual")),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "bias_h", "bias_w", "out")),
        *((f"grad{name}", ctypes.c_void_p) for name in ("", "_q", "_k", "_v", "_bias_h", "_bias_w")),
    ]


def _attend(
    q: Tensor, k: Tensor, windows: tuple[Sequence[int], Sequence[int]], parts: int, residual: bool, **maps: Any
) -> None:
    """Run the kernel on ``maps``, which it reads and writes."""
    (n, *q_map, heads, channels), kv_map = q.shape, k.shape[1:3]
    pairs = ((ctypes.c_int64 * 2)(*hw) for hw in (q_map, windows[0], kv_map, windows[1]))
    pointers = {name: x.data_ptr() for name, x in maps.items() if x is not None}
    problem = _Problem(n, heads, channels, *pairs, parts, residual, q=q.data_ptr(), k=k.data_ptr(), **pointers)
    if library().attend(problem) != 0:
        raise MemoryError("attention: no memory for the scores of a few queries")


def _parts(q: Tensor, q_window: Sequence[int]) -> int:
    """Return in how many parts to attend to the queries of a window, so that all threads have work."""
    n, map_h, map_w, heads, _ = q.shape
    windows = n * heads * num_windows(map_h, q_window[0]) * num_windows(map_w, q_window[1])
    return max(1, 4 * torch.get_num_threads() // windows)


class _Bias:
    """What the product of each query with the rows of one table means for the keys along one axis.

    Biases are (rows or columns of a map, queries in it, keys), and those of columns lie in the order that
    ``attention.c`` tells, so that no map is copied.
    """

    def __init__(self, q: Tensor, rel: Tensor, axis: int) -> None:
        n, map_h, map_w, heads, channels = q.shape
        index = torch.arange(q.shape[axis]) % len(rel)
        self.index = index.repeat(n) if axis == 1 else index.repeat_interleave(heads)
        self.rel, self.axis = rel, axis
        self.tables = rel[self.index]  # (rows or columns, keys, C)
        self.queries = self.along(q)

    def along(self, x: Tensor) -> Tensor:
        """Return a map (N, H, W, heads, C) as (N * H, W * heads, C), or with axis 2 the other way round."""
        x = x.flatten(2, 3).flatten(0, 1)
        return x if self.axis == 1 else x.transpose(0, 1)

    def forward(self) -> Tensor:
        return torch.bmm(self.queries, self.tables.mT)

    def backward(self, grad: Tensor, grad_q: Tensor) -> Tensor:
        """Add to the gradient of queries; return that of the tables."""
        self.along(grad_q).baddbmm_(grad, self.tables)
        return torch.zeros_like(self.rel).index_add_(0, self.index, torch.bmm(grad.mT, self.queries))


def _biases(q: Tensor, rel_h: Tensor | None, rel_w: Tensor | None) -> list[_Bias]:
    return [] if rel_h is None or rel_w is None else [_Bias(q, rel_h, axis=1), _Bias(q, rel_w, axis=2)]


def _empty_out(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q)


def _empty_grads(grad: Tensor, *inputs: Any) -> list[Tensor]:
    return [torch.empty_like(x) for x in inputs[:5] if x is not None]


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
    bias_h, bias_w = [bias.forward() for bias in _biases(q, rel_h, rel_w)] or (None, None)
    _attend(
        q, k, (q_window, kv_window), _parts(q, q_window), residual, v=v, bias_h=bias_h, bias_w=bias_w, out=out
    )
    return out


@operator("native_attention_backward", _empty_grads)
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
    """Return the gradients of queries, keys, values and, where there are some, tables."""
    biases, parts = _biases(q, rel_h, rel_w), _parts(q, q_window)
    grad, grad_q = grad.contiguous(), torch.empty_like(q)
    grad_k, grad_v = (x.new_empty(parts, *x.shape) for x in (k, v))
    bias_h, bias_w = [bias.forward() for bias in biases] or (None, None)
    grads_bias = [torch.empty_like(bias) for bias in (bias_h, bias_w) if bias is not None]
    grad_bias_h, grad_bias_w = grads_bias or (None, None)
    _attend(
        q, k, (q_window, kv_window), parts, residual, v=v, bias_h=bias_h, bias_w=bias_w, grad=grad,
        grad_q=grad_q, grad_k=grad_k, grad_v=grad_v, grad_bias_h=grad_bias_h, grad_bias_w=grad_bias_w,
    )  # fmt: skip
    tables = [bias.backward(x, grad_q) for bias, x in zip(biases, grads_bias, strict=True)]
    return [grad_q, *(x[0] if parts == 1 else x.sum(0) for x in (grad_k, grad_v)), *tables]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.options = inputs[5:]


def _autograd_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = _backward(grad, *ctx.saved_tensors, *ctx.options)
    return *grads, *[None] * (8 - len(grads))


torch.library.register_autograd(
    "mvit_det::native_attention", _autograd_backward, setup_context=_setup_context
)
