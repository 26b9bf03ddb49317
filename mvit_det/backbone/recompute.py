"""What is computed again in the backward pass rather than kept: the input of linear layers, or all."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mvit_det.backbone.norms import normalise
from mvit_det.backbone.precision import cast
from mvit_det.backbone.rows import affine, split

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
        recompute: keep ``x`` for the backward pass rather than what the layers save. A compiler
            chooses by itself what to keep.

    Returns:
        (..., D) for each layer.
    """
    weights, biases = zip(*layers, strict=True)
    if recompute and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _RecomputedLinears.apply(prepare, x, len(layers), *weights, *biases, *prepare.parameters())
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
        return linears(prepare, x, *zip(weights, biases, strict=True), recompute=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        parameters = list(ctx.prepare.parameters())
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
        # Sums over parts, which half precision would round at every step.
        sum_dtype = torch.promote_types(x.dtype, torch.float32)
        grad_weights, grad_learned = (
            [torch.zeros_like(tensor, dtype=sum_dtype) for tensor in group] for group in (weights, learned)
        )
        weights = [weight.to(grads[0].dtype) for weight in weights]
        width = max(x.shape[-1], sum(grad.shape[-1] for grad in grads))
        for x_part, place, *parts in split(width, x, grad_x, *grads):
            with torch.enable_grad(), torch.autocast(*ctx.autocast):
                x_part = x_part.detach().requires_grad_()
                prepared = normalise(ctx.prepare, x_part)
            inputs = prepared.detach().to(parts[0].dtype)
            grad_prepared = parts[0] @ weights[0]
            for part, weight in zip(parts[1:], weights[1:], strict=True):
                grad_prepared.addmm_(part, weight)
            for total, part in zip(grad_weights, parts, strict=True):
                total.addmm_(part.mT, inputs) if total.dtype == part.dtype else total.add_(part.mT @ inputs)
            grad_part, *found = torch.autograd.grad(
                prepared, [x_part, *learned], grad_prepared.to(prepared.dtype)
            )
            place.copy_(grad_part)
            for total, grad in zip(grad_learned, found, strict=True):
                total += grad
        in_order = iter(grad_learned)
        return (
            None,
            grad_x,
            None,
            *grad_weights,
            *(
                grad.flatten(0, -2).sum(0) if bias else None
                for grad, bias in zip(grads, ctx.has_bias, strict=True)
            ),
            *(next(in_order) if parameter.requires_grad else None for parameter in parameters),
        )
