"""Linear layers whose input is computed again in the backward pass rather than kept."""

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(
    prepare: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None, parts: int, recompute: bool
) -> tuple[Tensor, ...]:
    """Return ``parts`` linear maps of ``prepare(x)``.

    Args:
        prepare: what is cheap to compute again: a norm or an activation, over the last axis.
        x: (..., C)
        weight: (parts * D, C)
        bias: (parts * D,) or None.
        parts: how many maps the weight holds, one after the other.
        recompute: keep ``x`` for the backward pass rather than what the layers save. A compiler
            chooses by itself what to keep.

    Returns:
        ``parts`` tensors of (..., D), each contiguous.
    """
    if recompute and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _RecomputedLinear.apply(prepare, parts, x, weight, bias, *prepare.parameters())
    x = prepare(x)
    biases = [None] * parts if bias is None else bias.chunk(parts)
    return tuple(F.linear(x, w, b) for w, b in zip(weight.chunk(parts), biases, strict=True))


class _RecomputedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, prepare: nn.Module, parts: int, x: Tensor, weight: Tensor, bias: Tensor | None, *_: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.prepare, ctx.parts, ctx.has_bias = prepare, parts, bias is not None
        ctx.autocast = _autocast_now(x.device.type)
        ctx.save_for_backward(x, weight)
        return linear(prepare, x, weight, bias, parts, recompute=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        parameters = [p for p in ctx.prepare.parameters() if p.requires_grad]
        with torch.enable_grad(), ctx.autocast:
            x = x.detach().requires_grad_()
            prepared = ctx.prepare(x)
        rows = [grad.flatten(0, -2) for grad in grads]
        inputs = prepared.detach().to(rows[0].dtype).flatten(0, -2)
        weights = weight.to(rows[0].dtype).chunk(ctx.parts)

        grad_prepared = rows[0] @ weights[0]
        for row, part in zip(rows[1:], weights[1:], strict=True):
            grad_prepared.addmm_(row, part)
        grad_x, *grad_parameters = torch.autograd.grad(
            prepared, [x, *parameters], grad_prepared.view(prepared.shape).to(prepared.dtype)
        )
        given = iter(grad_parameters)
        return (
            None,
            None,
            grad_x,
            torch.cat([row.mT @ inputs for row in rows]),
            torch.cat([row.sum(0) for row in rows]) if ctx.has_bias else None,
            *(next(given) if p.requires_grad else None for p in ctx.prepare.parameters()),
        )


def _autocast_now(device: str) -> AbstractContextManager[None]:
    return torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
