"""What is computed again in the backward pass rather than kept: the input of linear layers, or all."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mvit_det.ops.autocast import cast
from mvit_det.ops.chunking import affine
from mvit_det.ops.norm import has_norm_kernel, normalise

Layer = tuple[Tensor, Tensor | None]  # weight and bias


def recomputed(function: Callable[..., Any], *inputs: Any) -> Any:
    """Return ``function(*inputs)``; where gradients may be wanted, nothing inside of it is kept."""
    return (
        checkpoint(function, *inputs, use_reentrant=False) if torch.is_grad_enabled() else function(*inputs)
    )


def linears(prepare: nn.Module, x: Tensor, *layers: Layer, recompute: bool) -> tuple[Tensor, ...]:
    """Return linear maps of ``prepare(x)``.

    Args:
        prepare: what is cheap to compute again: a norm or an activation, over the last axis. What it has
            learned, other than ``weight`` and ``bias``, must be its parameters.
        x: (..., C)
        layers: (D, C) weight and (D,) bias, or None, of each map.
        recompute: keep ``x`` for the backward pass rather than what the layers save; so it is in any case
            where our kernel normalises, which takes no longer than to read what was kept. A compiler
            chooses by itself.

    Returns:
        (..., D) for each layer.
    """
    recompute = recompute or has_norm_kernel(prepare, x)
    recompute = recompute and not any(prepare.children())  # whose parameters have other names
    if not recompute or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _linears(prepare, x, layers)
    weights, biases = zip(*layers, strict=True)
    learned = _learned(prepare)
    return _RecomputedLinears.apply(
        prepare, list(learned), len(layers), x, *weights, *biases, *learned.values()
    )


def _linears(prepare: nn.Module, x: Tensor, layers: Iterable[Layer]) -> tuple[Tensor, ...]:
    prepared = cast(normalise(prepare, x))  # once, where each layer would
    return tuple(affine(prepared, *layer) for layer in layers)


def _learned(layer: nn.Module) -> dict[str, Tensor]:
    """Return what a layer has learned; FSDP and the like replace its parameters by attributes."""
    names = {"weight", "bias", *(name for name, _ in layer.named_parameters())}
    found = {name: getattr(layer, name, None) for name in sorted(names)}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _with(learned: dict[str, Tensor], layer: nn.Module) -> nn.Module:
    """Return a layer that is as another but for what it has learned."""
    other: nn.Module = layer._replicate_for_data_parallel()
    for name, tensor in learned.items():
        setattr(other, name, tensor)
    return other


class _RecomputedLinears(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, prepare: nn.Module, names: list[str], num_layers: int, x: Tensor, *tensors: Any
    ) -> tuple[Tensor, ...]:
        weights, biases = tensors[:num_layers], tensors[num_layers : 2 * num_layers]
        ctx.prepare, ctx.names, ctx.num_layers = prepare, names, num_layers
        device = x.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(x, *weights, *tensors[2 * num_layers :])
        return _linears(prepare, x, zip(weights, biases, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # The model's own tensors have hooks, which would run twice.
        x, *others = (tensor.detach() for tensor in ctx.saved_tensors)
        n, wanted = ctx.num_layers, ctx.needs_input_grad[4:]
        weights, learned = others[:n], [tensor.requires_grad_() for tensor in others[n:]]
        with torch.autocast(ctx.autocast[0], enabled=False):  # a backward pass may run inside of it
            with torch.enable_grad(), torch.autocast(*ctx.autocast):
                layer = _with(dict(zip(ctx.names, learned, strict=True)), ctx.prepare)
                prepared = normalise(layer, x.requires_grad_().view_as(x))  # hooks on modules want no leaf
            grads = tuple(grad.flatten(0, -2) for grad in grads)
            inputs = prepared.detach().flatten(0, -2).to(grads[0].dtype)
            grad_weights = [
                grad.mT @ inputs if is_wanted else None
                for grad, is_wanted in zip(grads, wanted[:n], strict=True)
            ]
            grad_biases = [
                grad.sum(0) if is_wanted else None
                for grad, is_wanted in zip(grads, wanted[n : 2 * n], strict=True)
            ]
            first, *weights = [weight.to(inputs.dtype) for weight in weights]
            grad_prepared = grads[0] @ first
            for grad, weight in zip(grads[1:], weights, strict=True):
                grad_prepared.addmm_(grad, weight)
            grad_x, *grad_learned = torch.autograd.grad(
                prepared, [x, *learned], grad_prepared.to(prepared.dtype).view_as(prepared)
            )
        return None, None, None, grad_x, *grad_weights, *grad_biases, *grad_learned
