"""Layers that may be computed without calling them.

The functions in this package compute a layer from its weights where that is faster. They may do so only if
the result and the side effects are the same: a layer that was replaced (LoRA, quantization) or hooked must be
called.
"""

from typing import TypeGuard, TypeVar

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

Layer = TypeVar("Layer", bound=nn.Module)


def is_plain(layer: nn.Module, kind: type[Layer]) -> TypeGuard[Layer]:
    """Return whether computing ``layer`` from its weights is the same as calling it.

    This holds for instances of ``kind`` itself, not of a subclass, that have no hooks, whose ``forward`` is
    not overridden on the instance, and whose weight and bias are ordinary tensors, not sharded or quantized
    ones.
    """
    if type(layer) is not kind or "forward" in vars(layer) or has_hooks(layer):
        return False
    weights = (getattr(layer, "weight", None), getattr(layer, "bias", None))
    return all(weight is None or type(weight) in (Tensor, nn.Parameter) for weight in weights)


def has_hooks(*layers: nn.Module) -> bool:
    """Return whether calling any of ``layers`` would run a hook."""
    return _has_any_global_hook() or any(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
        for layer in layers
    )
