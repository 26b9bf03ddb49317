"""Registration of our kernels as custom operators, which ``torch.compile`` does not trace into."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

# The tensors that attention takes: queries, keys, values, and two relative positions, which may be None.
NUM_TENSORS = 5


def operator(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function to register it as the operator ``torch.ops.mvit_det.<name>``.

    The function must not modify its inputs. It runs with autocast disabled.

    Unlike :func:`torch.library.custom_op`, this does not import the compiler, which takes two seconds.

    Args:
        name: name of the operator.
        fake: takes the same arguments, and returns empty tensors with the shapes and dtypes of the results.

    Returns:
        a decorator, which returns a function that calls the operator. It raises a NotImplementedError in
        forward-mode differentiation, in which PyTorch would return zeros.
    """

    def register(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def run(*args: Any) -> Any:
            with torch.autocast(args[0].device.type, enabled=False):  # which may be on in a backward pass
                return function(*args)

        full_name = f"mvit_det::{name}"
        torch.library.define(full_name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(full_name, "default")(run)
        torch.library.register_fake(full_name, fake)
        registered = getattr(torch.ops.mvit_det, name)

        @wraps(function)
        def call(*args: Any) -> Any:
            if forward_ad._current_level >= 0:  # inside torch.func.jvp or a dual level
                _refuse_tangents(name, args)
            return registered(*args)

        return call

    return register


def _refuse_tangents(name: str, args: Sequence[Any]) -> None:
    for arg in args:
        for x in arg if isinstance(arg, list) else [arg]:
            if isinstance(x, Tensor) and forward_ad.unpack_dual(x).tangent is not None:
                raise NotImplementedError(
                    f"{name}: forward-mode differentiation (torch.func.jvp) is not implemented; "
                    "attention='reference' and float64 use PyTorch operators, which support it"
                )


def register_gradients(name: str, backward: Callable[..., Sequence[Tensor]]) -> None:
    """Register ``backward`` as the formula for the gradients of the operator ``name``.

    Args:
        name: an operator that takes :data:`NUM_TENSORS` tensors, or None, followed by options. It returns its
            output, or a tuple of the output and the tensors to save for the backward pass.
        backward: the operator ``<name>_backward``. It takes the gradient of the output, the input tensors,
            all of the tuple if there is one, and the options. It returns the gradients of the input tensors.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, tuple) else ()
        ctx.save_for_backward(*inputs[:NUM_TENSORS], *outputs)
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.options = inputs[NUM_TENSORS:]

    def differentiate(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        grads = backward(grad, *ctx.saved_tensors, *ctx.options)
        return *grads, *[None] * (NUM_TENSORS + len(ctx.options) - len(grads))

    torch.library.register_autograd(f"mvit_det::{name}", differentiate, setup_context=setup_context)
    refuse_gradients(
        f"{name}_backward",
        "attention can be differentiated once; use attention='reference' for higher derivatives",
    )


def empty_grads(grad: Tensor, *inputs: Any) -> list[Tensor]:
    """Return empty gradients of the input tensors that are not None: the ``fake`` of a ``backward``."""
    return [torch.empty_like(x) for x in inputs[:NUM_TENSORS] if x is not None]


def refuse_gradients(name: str, message: str) -> None:
    """Make an operator raise an error when it is differentiated; PyTorch would return zeros."""

    def refuse(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(message)

    torch.library.register_autograd(f"mvit_det::{name}", refuse)
