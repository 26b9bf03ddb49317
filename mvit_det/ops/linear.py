"""Linear layers."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mvit_det.ops.autocast import cast
from mvit_det.ops.checkpointing import get_recomputation
from mvit_det.ops.layers import is_plain


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """Return ``layer(x)``: (..., C) -> (..., D)."""
    return split_linear(layer, x, 1)[0]


def split_linear(layer: nn.Module, x: Tensor, num_parts: int) -> tuple[Tensor, ...]:
    """Return ``layer(x)`` split along the last axis: (..., C) -> ``num_parts`` of (..., D / num_parts).

    A plain :class:`torch.nn.Linear` is computed part by part, so that each part is contiguous. Any other
    module is called. If :func:`mvit_det.ops.checkpointing.set_recomputation` recorded how to recompute ``x``,
    the backward pass does so, and saves the inputs instead of ``x``.
    """
    if torch.compiler.is_compiling() or not is_plain(layer, nn.Linear):
        return tuple(layer(x).chunk(num_parts, dim=-1))
    weights = layer.weight.chunk(num_parts)
    biases = [None] * num_parts if layer.bias is None else layer.bias.chunk(num_parts)
    recomputation = get_recomputation(x)
    x = cast(x)  # once, instead of once for each part
    if recomputation is None:
        return tuple(affine(x, *part) for part in zip(weights, biases, strict=True))
    parts = (num_parts, x, *weights, *biases)
    outputs: tuple[Tensor, ...] = _RecomputingLinear.apply(
        recomputation.function, *parts, *recomputation.inputs
    )
    return outputs


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``F.linear(x, weight, bias)``, in a way that is faster on a CPU; see docs/performance.md."""
    if bias is not None and x.device.type == "cpu":
        if x.dtype == torch.float32:
            return F.linear(x, weight).add_(bias)
        if x.dtype == torch.bfloat16 and not torch.is_grad_enabled() and _has_onednn_bf16():
            return torch.ops.mkldnn._linear_pointwise(
                x, weight.to(x), bias.to(x).contiguous(), "none", [], ""
            )
    return F.linear(x, weight, bias)


def _has_onednn_bf16() -> bool:
    """Return whether oneDNN multiplies bfloat16 here, with the private operator behind torch.compile."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    operators = torch.ops.mkldnn
    return hasattr(operators, "_linear_pointwise") and operators._is_mkldnn_bf16_supported()


class _RecomputingLinear(torch.autograd.Function):
    """A linear layer, split into parts, that saves ``inputs`` and recomputes ``x = function(*inputs)``.

    Gradients still flow through ``x``: the recomputed value is needed for the gradients of the weights only.
    """

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Tensor], num_parts: int, x: Tensor, *tensors: Any
    ) -> tuple[Tensor, ...]:
        weights, biases = tensors[:num_parts], tensors[num_parts : 2 * num_parts]
        ctx.function, ctx.num_parts = function, num_parts
        device = x.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(*weights, *tensors[2 * num_parts :])
        return tuple(affine(x, *part) for part in zip(weights, biases, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        n, saved = ctx.num_parts, ctx.saved_tensors  # an enclosing checkpoint unpacks only once
        weights, inputs = saved[:n], saved[n:]
        _, _, needs_x, *others = ctx.needs_input_grad
        needs_weights, needs_biases = others[:n], others[n : 2 * n]
        shape, dtype = grads[0].shape, grads[0].dtype
        grads = tuple(grad.flatten(0, -2) for grad in grads)
        grad_weights: list[Tensor | None] = [None] * n
        grad_x = None
        if any(needs_weights):
            with torch.autocast(*ctx.autocast):
                x = ctx.function(*inputs).flatten(0, -2).to(dtype)
        with torch.autocast(ctx.autocast[0], enabled=False):  # the backward pass may run inside autocast
            if any(needs_weights):
                grad_weights = [
                    grad.mT @ x if needed else None for grad, needed in zip(grads, needs_weights, strict=True)
                ]
            if needs_x:
                grad_x = grads[0] @ weights[0].to(dtype)
                for grad, weight in zip(grads[1:], weights[1:], strict=True):
                    grad_x.addmm_(grad, weight.to(dtype))
                grad_x = grad_x.unflatten(0, shape[:-1])
        grad_biases = [
            grad.sum(0) if needed else None for grad, needed in zip(grads, needs_biases, strict=True)
        ]
        return None, None, grad_x, *grad_weights, *grad_biases, *[None] * len(inputs)
