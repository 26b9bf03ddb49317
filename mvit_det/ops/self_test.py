"""Compares a kernel with PyTorch operators, forward and backward."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from mvit_det.ops.reference import reference_attention, reference_roi_align
from mvit_det.ops.relative_bias import RelPos

# Relative. Rounding to bfloat16 causes errors of about 0.01, and a wrongly compiled kernel larger ones.
MAX_ERROR = 0.03


def random_tensors(like: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Return normal values, the same in each call, with the dtype and the device of ``like``."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, device="cpu").to(like) for shape in shapes]


def check_attention(attention: Callable[..., Tensor], like: Tensor) -> None:
    """Compare an implementation of attention with the reference: in windows with padding, and globally.

    Args:
        attention: as :func:`mvit_det.ops.reference.reference_attention`.
        like: a tensor with the dtype and the device to check.

    Raises:
        RuntimeError: if the results differ; see :func:`compare`.
    """
    kv, table, wide = (1, 5, 6, 2, 96), (8, 4, 96), (1, 4, 40, 1, 96)
    shapes = [(1, 9, 11, 2, 96), kv, kv, table, table, wide, wide, wide]
    q, k, v, rel_h, rel_w, *wide_qkv = random_tensors(like, *shapes)
    tensors = [q, k, v, 0.1 * rel_h, 0.1 * rel_w]
    compare("attention", _in_windows(attention), _in_windows(reference_attention), tensors, ())
    compare("wide attention", _globally(attention), _globally(reference_attention), wide_qkv, ())


def check_conv3x3(conv3x3: Callable[..., Tensor]) -> None:
    """Compare an implementation of 3x3 convolution with PyTorch's.

    Args:
        conv3x3: as :func:`mvit_det.ops.native.convolution.native_conv3x3`.

    Raises:
        RuntimeError: if the results differ; see :func:`compare`.
    """
    like = torch.empty(0, dtype=torch.float32, device="cpu")
    tensors = random_tensors(like, (2, 32, 9, 12), (64, 32, 3, 3), (64,))
    compare("3x3 convolution", conv3x3, partial(conv2d, padding=1), tensors, ())


def check_roi_align(roi_align: Callable[..., Tensor]) -> None:
    """Compare an implementation of RoIAlign with the reference.

    Args:
        roi_align: as :func:`mvit_det.ops.native.roi_align.native_roi_align`.

    Raises:
        RuntimeError: if the results differ; see :func:`compare`.
    """
    like = torch.empty(0, dtype=torch.float32, device="cpu")
    maps = random_tensors(like, (2, 32, 9, 12), (2, 32, 5, 6))
    boxes = like.new_tensor([[3, 2, 30, 9], [-5, 0, 50, 40], [7, 7, 7.5, 7.5]])
    regions = (boxes, torch.tensor([0, 1, 1], device="cpu"), torch.tensor([0, 1, 0], device="cpu"))

    def pool(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *levels: function(levels, *regions, [1 / 4, 1 / 8], 7)

    compare("RoIAlign", pool(roi_align), pool(reference_roi_align), maps, ())


def compare(
    name: str,
    kernel: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    options: tuple[object, ...],
) -> None:
    """Compare the output and the gradients of a kernel with those of a reference in float32.

    Args:
        name: of the kernel, for the error message.
        kernel: the function to check; its arguments are ``*tensors, *options``.
        reference: a function with the same arguments.
        tensors: the arguments to differentiate.
        options: the other arguments.

    Raises:
        RuntimeError: if the norm of a difference exceeds :data:`MAX_ERROR` times the norm of the reference.
    """

    def run(function: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        inputs = [tensor.to(dtype, copy=True).requires_grad_() for tensor in tensors]
        out = function(*inputs, *options)
        return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]

    pairs = zip(run(kernel, tensors[0].dtype), run(reference, torch.float32), strict=True)
    error = torch.stack([(a.float() - b).norm() / b.norm() for a, b in pairs]).max().item()  # keeps a NaN
    if not error <= MAX_ERROR:
        raise RuntimeError(f"the kernel of {name} has a relative error of {error:.2g}")


def _in_windows(attention: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        return attention(q, k, v, RelPos(rel_h, rel_w), (8, 8), (4, 4), True)

    return attend


def _globally(attention: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        map_hw = (q.shape[1], q.shape[2])
        return attention(q, k, v, None, map_hw, map_hw, False)

    return attend
