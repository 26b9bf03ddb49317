"""Operators of torch, which a compiler takes as a whole."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def operator(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register the function below as ``torch.ops.mvit_det.<name>``, which mutates nothing.

    ``fake`` takes the same arguments and returns empty tensors of the shapes and dtypes that it will.

    As :func:`torch.library.custom_op`, whose operators import the compiler when first called: two seconds.
    """

    def register(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def run(*arguments: Any) -> Any:
            device = arguments[0].device.type
            with torch.autocast(device, enabled=False):  # a backward pass may run inside of it
                return function(*arguments)

        full_name = f"mvit_det::{name}"
        torch.library.define(full_name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(full_name, "default")(run)
        torch.library.register_fake(full_name, fake)
        return getattr(torch.ops.mvit_det, name)

    return register


def register_gradients(name: str, backward: Callable[..., Sequence[Tensor]]) -> None:
    """Let the operator ``backward``, itself made by :func:`operator`, differentiate ``name``.

    ``name`` takes five tensors, or None, and options; it returns its output, or a tuple of that and of what
    the backward pass needs. ``backward`` takes the gradient of the output, the five tensors, that tuple if
    there is one, and the options; it returns the gradients of the tensors.
    """

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, tuple) else ()
        ctx.save_for_backward(*inputs[:5], *outputs)
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.options = inputs[5:]

    def differentiate(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        grads = backward(grad, *ctx.saved_tensors, *ctx.options)
        return *grads, *[None] * (5 + len(ctx.options) - len(grads))

    torch.library.register_autograd(f"mvit_det::{name}", differentiate, setup_context=keep)
    refuse_gradients(f"{name}_backward")


def empty_grads(grad: Tensor, *inputs: Any) -> list[Tensor]:
    """Return empty gradients of the first five inputs but those that are None: the fake of a ``backward``."""
    return [torch.empty_like(x) for x in inputs[:5] if x is not None]


def refuse_gradients(name: str) -> None:
    """Let an operator be refused where it would have to be differentiated; torch would take zeros."""

    def refuse(ctx: Any, *grads: Any) -> None:
        raise RuntimeError("attention can be differentiated once; attention='reference' can be more often")

    torch.library.register_autograd(f"mvit_det::{name}", refuse)
