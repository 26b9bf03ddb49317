"""What is computed again in the backward pass rather than kept: the input of linear layers, or all."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mvit_det.backbone.norms import has_norm_kernel, normalise
from mvit_det.backbone.precision import cast
from mvit_det.backbone.rows import affine

Layer = tuple[Tensor, Tensor | None]  # weight and bias


def recomputed(function: Callable[..., Any], *inputs: Any) -> Any:
    """Return ``function(*inputs)``; where gradients may be wanted, nothing inside of it is kept."""
    return (
        checkpoint(function, *inputs, use_reentrant=False) if torch.is_grad_enabled() else function(*inputs)
    )


def linears(prepare: nn.Module, x: Tensor, *layers: Layer, recompute: bool) -> tuple[Tensor, ...]:
    """Return linear maps of ``prepare(x)``.

    Args:
        prepare: what is cheap to compute again: a norm or an activation, over the last axis.
        x: (..., C)
        layers: (D, C) weight and (D,) bias, or None, of each map.
        recompute: keep ``x`` for the backward pass rather than what the layers save; so it is in any case
            where our kernel normalises, which takes no longer than to read what was kept. A compiler
            chooses by itself.

    Returns:
        (..., D) for each layer.
    """
    recompute = recompute or has_norm_kernel(prepare, x)
    if not recompute or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _linears(prepare, x, layers)
    weights, biases = zip(*layers, strict=True)
    return _RecomputedLinears.apply(prepare, x, len(layers), *weights, *biases, *prepare.parameters())


def _linears(prepare: nn.Module, x: Tensor, layers: Iterable[Layer]) -> tuple[Tensor, ...]:
    prepared = cast(normalise(prepare, x))  # once, where each layer would
    return tuple(affine(prepared, *layer) for layer in layers)


class _RecomputedLinears(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, prepare: nn.Module, x: Tensor, num_layers: int, *tensors: Any
    ) -> tuple[Tensor, ...]:
        weights, biases = tensors[:num_layers], tensors[num_layers : 2 * num_layers]
        ctx.prepare, ctx.has_bias = prepare, [bias is not None for bias in biases]
        device = x.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(x, *weights)
        return _linears(prepare, x, zip(weights, biases, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        parameters = list(ctx.prepare.parameters())
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            x = x.detach().requires_grad_()
            prepared = normalise(ctx.prepare, x)
        grads = tuple(grad.flatten(0, -2) for grad in grads)
        inputs = prepared.detach().flatten(0, -2).to(grads[0].dtype)
        grad_weights = [grad.mT @ inputs for grad in grads]
        first, *weights = [weight.to(inputs.dtype) for weight in weights]
        grad_prepared = grads[0] @ first
        for grad, weight in zip(grads[1:], weights, strict=True):
            grad_prepared.addmm_(grad, weight)
        grad_x, *grad_learned = torch.autograd.grad(
            prepared, [x, *learned], grad_prepared.to(prepared.dtype).view_as(prepared)
        )
        in_order = iter(grad_learned)
        return (
            None,
            grad_x,
            None,
            *grad_weights,
            *(grad.sum(0) if bias else None for grad, bias in zip(grads, ctx.has_bias, strict=True)),
            *(next(in_order) if parameter.requires_grad else None for parameter in parameters),
        )
