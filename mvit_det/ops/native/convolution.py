"""3x3 convolution for CPUs in float32: a kernel in C, compiled on first use, as a PyTorch operator."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from mvit_det.ops.custom_op import operator
from mvit_det.ops.native.library import call_kernel, check_tensor

MULTIPLE = 32  # which the numbers of channels must be multiples of


def native_conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``F.conv2d(x, weight, bias, padding=1)`` for 3x3 filters; the result is channels-last."""
    return _forward(x, weight, bias)


class _Arguments(ctypes.Structure):
    """The arguments of the kernel, field by field as in ``convolution.c``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "in_channels", "out_channels")),
        *((name, ctypes.c_void_p) for name in ("input", "weight", "bias", "output", "grad", "grad_weight")),
    ]


def _call(function: str, shape: torch.Size, out_channels: int, **maps: Tensor | None) -> None:
    """Run a function of the kernel, on maps that are (N, H, W, C)."""
    n, height, width, channels = shape
    assert channels % MULTIPLE == out_channels % MULTIPLE == 0, f"{channels} and {out_channels} channels"
    tensors = {name: x for name, x in maps.items() if x is not None}
    for name, x in tensors.items():
        check_tensor(name, x, torch.float32)
    pointers = {name: x.data_ptr() for name, x in tensors.items()}
    call_kernel("convolution", function, _Arguments(n, height, width, channels, out_channels, **pointers))


def _empty_out(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    shape = x.shape[0], weight.shape[0], *x.shape[2:]
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@operator("native_conv3x3", _empty_out)
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert weight.shape[1:] == (x.shape[1], 3, 3), f"input {x.shape}, weight {weight.shape}"
    out = _empty_out(x, weight, bias)
    rows, output = _channels_last(x), out.permute(0, 2, 3, 1)
    filters = weight.permute(2, 3, 1, 0).contiguous()
    bias = None if bias is None else bias.contiguous()
    _call("convolve", rows.shape, len(weight), input=rows, weight=filters, bias=bias, output=output)
    return out


def _empty_grad(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(weight)


@operator("native_conv3x3_backward_weight", _empty_grad)
def _backward_weight(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    rows, grad = _channels_last(x), _channels_last(grad)
    grad_weight = weight.new_empty(3, 3, x.shape[1], len(weight))
    _call("differentiate", rows.shape, len(weight), input=rows, grad=grad, grad_weight=grad_weight)
    return grad_weight.permute(3, 2, 0, 1).contiguous()


def _channels_last(x: Tensor) -> Tensor:
    """Return an (N, C, H, W) tensor as (N, H, W, C), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _rotated(weight: Tensor) -> Tensor:
    """Return the filters that yield the gradient of the input: transposed, and rotated by 180 degrees."""
    return weight.flip(2, 3).transpose(0, 1)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias = ctx.needs_input_grad
    return (
        _forward(grad, _rotated(weight), None) if needs_x else None,
        _backward_weight(grad, x, weight) if needs_weight else None,
        grad.sum((0, 2, 3)) if needs_bias else None,
    )


torch.library.register_autograd("mvit_det::native_conv3x3", _backward, setup_context=_setup_context)


# The gradient of the weight is linear in both maps, so that its own gradients are convolutions as well.
def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, x, _ = inputs
    ctx.save_for_backward(grad, x)


def _backward_second(ctx: Any, grad_weight: Tensor) -> tuple[Tensor | None, ...]:
    grad, x = ctx.saved_tensors
    needs_grad, needs_x, _ = ctx.needs_input_grad
    return (
        _forward(x, grad_weight, None) if needs_grad else None,
        _forward(grad, _rotated(grad_weight), None) if needs_x else None,
        None,
    )


torch.library.register_autograd(
    "mvit_det::native_conv3x3_backward_weight", _backward_second, setup_context=_setup_second
)
