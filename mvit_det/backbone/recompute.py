"""Linear layers whose input is computed again in the backward pass rather than kept."""

from typing import Any

import torch
from torch import Tensor, nn

from mvit_det.backbone.rows import affine

Layer = tuple[Tensor, Tensor | None]  # weight and bias


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
    prepared = prepare(x)
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
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        parameters = list(ctx.prepare.parameters())
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            x = x.detach().requires_grad_()
            prepared = ctx.prepare(x)
        inputs = prepared.detach().to(grads[0].dtype).flatten(0, -2)
        rows = [grad.flatten(0, -2) for grad in grads]

        grad_prepared = rows[0] @ weights[0].to(inputs.dtype)
        for row, weight in zip(rows[1:], weights[1:], strict=True):
            grad_prepared.addmm_(row, weight.to(inputs.dtype))
        wanted = [x, *(parameter for parameter in parameters if parameter.requires_grad)]
        grad_x, *grad_parameters = torch.autograd.grad(
            prepared, wanted, grad_prepared.view(prepared.shape).to(prepared.dtype)
        )
        in_order = iter(grad_parameters)
        return (
            None,
            grad_x,
            None,
            *(row.mT @ inputs for row in rows),
            *(row.sum(0) if has_bias else None for row, has_bias in zip(rows, ctx.has_bias, strict=True)),
            *(next(in_order) if parameter.requires_grad else None for parameter in parameters),
        )
