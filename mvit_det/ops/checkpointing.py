"""Activation checkpointing.

Whole modules are checkpointed with :mod:`torch.utils.checkpoint`. Besides, the outputs of norms and
activation functions, which linear layers would save, can be recomputed at little cost: such an output carries
a record of how to recompute it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mvit_det.ops.layers import is_plain

ACTIVATIONS = (nn.GELU, nn.ReLU, nn.SiLU)  # cheap, deterministic and without parameters


class Recomputation(NamedTuple):
    """How to compute a tensor again: ``function(*inputs)``."""

    function: Callable[..., Tensor]
    inputs: tuple[Tensor | None, ...]
    version: int  # of the tensor, to detect changes in place


def checkpoint_module(module: nn.Module, *inputs: Any) -> Any:
    """Return ``module(*inputs)``; the backward pass recomputes everything inside ``module``."""
    if not torch.is_grad_enabled():
        return module(*inputs)
    return checkpoint(module, *inputs, use_reentrant=False)


def set_recomputation(output: Tensor, function: Callable[..., Tensor], *inputs: Tensor | None) -> None:
    """Record that ``output`` is ``function(*inputs)``, so that it can be recomputed.

    A linear layer that reads ``output`` through :func:`mvit_det.ops.linear.linear` then saves ``inputs`` for
    the backward pass instead of ``output``. The record is an attribute of ``output``, which its views and
    copies do not have. While compiling, nothing is recorded: compilers choose what to save.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        output._mvit_det_recomputation = Recomputation(  # type: ignore[attr-defined]
            function, inputs, output._version
        )


def get_recomputation(x: Tensor) -> Recomputation | None:
    """Return what :func:`set_recomputation` recorded for ``x``, or None if ``x`` must be saved."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return None
    recomputation: Recomputation | None = getattr(x, "_mvit_det_recomputation", None)
    is_valid = recomputation is not None and recomputation.version == x._version
    return recomputation if is_valid else None


def activate(activation: nn.Module, x: Tensor, recompute: bool = False) -> Tensor:
    """Return ``activation(x)``.

    Args:
        activation: an elementwise layer.
        x: any shape.
        recompute: whether the linear layer that reads the result saves ``x`` instead, and recomputes the
            activation, if it is one of :data:`ACTIVATIONS`.
    """
    out: Tensor = activation(x)
    if recompute and type(activation) in ACTIVATIONS and is_plain(activation, type(activation)):
        set_recomputation(out, activation.forward, x)
    return out
