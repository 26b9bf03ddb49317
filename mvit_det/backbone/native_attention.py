"""Exact attention for CPUs in float32 as an operator of torch: C, compiled where it first runs."""

import ctypes
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mvit_det.backbone.operators import operator, register_gradients
from mvit_det.backbone.windows import count_windows

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
def library() -> ctypes.CDLL:
    """Compile the kernel for this processor by ``$CC``, or else ``cc``, in about half a second, and load it.

    Raises:
        OSError: without a compiler, or if what it made cannot be loaded.
        RuntimeError: if it fails; the message is its own.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    options = ["-std=gnu11", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "attention.so")
        made = subprocess.run([*compiler, *options, SOURCE, "-o", out, "-lm"], capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(f"{shlex.join(compiler)}: {made.stderr.strip()}")
        loaded = ctypes.CDLL(out)
    loaded.attend.argtypes = [ctypes.POINTER(_Problem)]
    return loaded


class _Problem(ctypes.Structure):  # field by field as in maps.h
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
    parts: int,
    residual: bool,
    **others: Tensor | None,
) -> None:
    """Run the kernel on maps, which it reads and writes. What does not fit would harm other memory."""
    (n, *q_map, heads, channels), kv_map = q.shape, k.shape[1:3]
    assert k.shape == v.shape == (n, *kv_map, heads, channels), f"q, k, v: {q.shape}, {k.shape}, {v.shape}"
    assert count_windows(q, q_window) == count_windows(k, kv_window), f"windows {q_window} and {kv_window}"
    maps = {name: x for name, x in {"q": q, "k": k, "v": v, **others}.items() if x is not None}
    for name, x in maps.items():
        is_usable = x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
        assert is_usable, f"{name}: {x.dtype} on {x.device}, strides {x.stride()}"
    pairs = ((ctypes.c_int64 * 2)(*hw) for hw in (q_map, q_window, kv_map, kv_window))
    pointers = {name: x.data_ptr() for name, x in maps.items()}
    if library().attend(_Problem(n, heads, channels, *pairs, parts, residual, **pointers)) != 0:
        raise MemoryError("attention: no memory for the scores of a few queries")


def _parts(q: Tensor, q_window: list[int]) -> int:
    """Return in how many parts to attend to the queries of a window, so that all threads have work."""
    return max(1, 4 * torch.get_num_threads() // max(1, count_windows(q, q_window)))


class _Table:
    """A table of relative positions along one axis of a map, and the biases that it gives the map's queries.

    Args:
        rel: (height or width of a window, keys, C)
        q: (N, H, W, heads, C)
        by_columns: whether the axis is that of the columns.
    """

    def __init__(self, rel: Tensor, q: Tensor, by_columns: bool) -> None:
        self.rel, self.by_columns = rel, by_columns
        index = torch.arange(q.shape[2 if by_columns else 1], device=q.device) % len(rel)
        self.index = index.repeat_interleave(q.shape[3]) if by_columns else index.repeat(q.shape[0])
        self.rows, self.queries = rel[self.index], self.flat(q)

    def flat(self, x: Tensor) -> Tensor:
        """Return a view of a map, (N * H, W * heads, C), or by columns (W * heads, N * H, C)."""
        x = x.flatten(2, 3).flatten(0, 1)
        return x.transpose(0, 1) if self.by_columns else x

    def biases(self) -> Tensor:
        """Return (N * H, W * heads, keys), or by columns (W * heads, N * H, keys): views need no copy."""
        return torch.bmm(self.queries, self.rows.mT)

    def backward(self, grad: Tensor, grad_q: Tensor) -> Tensor:
        """Add to the gradient of a map's queries what the biases' gradient gives; return the table's."""
        self.flat(grad_q).baddbmm_(grad, self.rows)
        return torch.zeros_like(self.rel).index_add_(0, self.index, torch.bmm(grad.mT, self.queries))


def _tables(
    q: Tensor, rel_h: Tensor | None, rel_w: Tensor | None, q_window: list[int], kv_window: list[int]
) -> list[_Table]:
    if rel_h is None or rel_w is None:
        return []
    for rel, *lengths in zip((rel_h, rel_w), q_window, kv_window, strict=True):
        expected = (*lengths, q.shape[-1])
        assert rel.shape == expected, f"table of relative positions {tuple(rel.shape)}, not {expected}"
    return [_Table(rel_h, q, False), _Table(rel_w, q, True)]


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
    tables = _tables(q, rel_h, rel_w, q_window, kv_window)
    bias_h, bias_w = [table.biases() for table in tables] or (None, None)
    parts = _parts(q, q_window)
    _attend(q, k, v, q_window, kv_window, parts, residual, bias_h=bias_h, bias_w=bias_w, out=out)
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
    tables = _tables(q, rel_h, rel_w, q_window, kv_window)
    parts = min(8, _parts(q, q_window))  # each holds gradients of keys and values of its own
    biases = [table.biases() for table in tables]
    grads = [torch.empty_like(bias) for bias in biases]
    (bias_h, bias_w), (grad_bias_h, grad_bias_w) = biases or (None, None), grads or (None, None)
    grad, grad_q = grad.contiguous(), torch.empty_like(q)
    grad_k, grad_v = (x.new_empty(parts, *x.shape) for x in (k, v))
    _attend(
        q, k, v, q_window, kv_window, parts, residual, bias_h=bias_h, bias_w=bias_w, grad=grad,
        grad_q=grad_q, grad_k=grad_k, grad_v=grad_v, grad_bias_h=grad_bias_h, grad_bias_w=grad_bias_w,
    )  # fmt: skip
    grads_table = [table.backward(x, grad_q) for table, x in zip(tables, grads, strict=True)]
    return [grad_q, *(x[0] if parts == 1 else x.sum(0) for x in (grad_k, grad_v)), *grads_table]


register_gradients("native_attention", _backward)
