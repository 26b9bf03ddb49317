"""Activation checkpointing.

Whole modules are checkpointed with :mod:`torch.utils.checkpoint`. Besides, the outputs of norms and
activation functions, which linear layers would save, can be recomputed at little cost: for such an
output, a record says how to recompute it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.weak import WeakTensorKeyDictionary

from mvit_det.ops.layers import is_plain

# Elementwise, deterministic and without parameters.
ACTIVATIONS = (nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.SiLU)


class Recomputation(NamedTuple):
    """How to compute a tensor again: ``function(*inputs)``."""

    function: Callable[..., Tensor]
    inputs: tuple[Tensor | None, ...]
    version: int  # of the tensor, to detect changes in place


# Not an attribute of the tensor, which torch.save would write. An entry lives as long as its tensor.
_RECOMPUTATIONS = WeakTensorKeyDictionary()


def checkpoint_module(module: nn.Module, *inputs: Any) -> Any:
    """Return ``module(*inputs)``; the backward pass recomputes everything inside ``module``."""
    if not torch.is_grad_enabled():
        return module(*inputs)
    return checkpoint(module, *inputs, use_reentrant=False)


def set_recomputation(output: Tensor, function: Callable[..., Tensor], *inputs: Tensor | None) -> None:
    """Record that ``output`` is ``function(*inputs)``, so that it can be recomputed.

    A linear layer that reads ``output`` through :func:`mvit_det.ops.linear.linear` then saves ``inputs`` for
    the backward pass instead of ``output``. Views and copies of ``output`` have no record. While
    compiling, nothing is recorded: compilers choose what to save.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        _RECOMPUTATIONS[output] = Recomputation(function, inputs, output._version)


def get_recomputation(x: Tensor) -> Recomputation | None:
    """Return what :func:`set_recomputation` recorded for ``x``, or None if ``x`` must be saved."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return None
    recomputation: Recomputation | None = _RECOMPUTATIONS.get(x)
    is_valid = recomputation is not None and recomputation.version == x._version
    return recomputation if is_valid else None


def activate(activation: nn.Module, x: Tensor, recompute: bool = False) -> Tensor:
    """Return ``activation(x)``.

    Args:
        activation: an elementwise layer.
        x: any shape.
        recompute: whether the linear layer that reads the result saves ``x`` instead, and recomputes the
            activation, if it is one of :data:`ACTIVATIONS` and does not work in place.
    """
    out: Tensor = activation(x)
    is_pure = type(activation) in ACTIVATIONS and not getattr(activation, "inplace", False)
    if recompute and is_pure and is_plain(activation, type(activation)):
        set_recomputation(out, activation.forward, x)
    return out
