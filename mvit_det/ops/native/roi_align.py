"""RoIAlign for CPUs in float32: a kernel in C, compiled on first use, as a PyTorch operator."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mvit_det.ops.custom_op import operator, refuse_gradients
from mvit_det.ops.native.library import call_kernel, check_tensor

MULTIPLE = 32  # which the number of channels must be a multiple of
MAX_LEVELS = 8


def native_roi_align(
    maps: Sequence[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
) -> Tensor:
    """Compute :func:`mvit_det.ops.reference.reference_roi_align` in float32.

    Args:
        maps: up to :data:`MAX_LEVELS` levels, each (N, C, h, w) in float32 or half precision; C is a multiple
            of :data:`MULTIPLE`.
        boxes: (R, 4) XYXY in px. They get no gradients.
        image_index: (R,) int64.
        levels: (R,) int64. A box whose image or level does not exist is pooled to zeros: the level of a box
            that is NaN is undefined.
        scales: cells per px in each level.
        output_size: side of the result, in bins.

    Returns:
        (R, C, output_size, output_size), channels-last, in the dtype of the levels.
    """
    sizes = [side for level in maps for side in level.shape[-2:]]
    tensors = boxes.detach().float(), image_index, levels, [level.float() for level in maps]
    pooled: Tensor = _forward(*tensors, len(maps[0]), sizes, list(scales), output_size)
    return pooled.to(maps[0].dtype)


class _Arguments(ctypes.Structure):
    """The arguments of the kernel, field by field as in ``roi_align.c``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "channels", "regions", "size")),
        *((name, ctypes.c_int64 * MAX_LEVELS) for name in ("heights", "widths")),
        ("scales", ctypes.c_float * MAX_LEVELS),
        ("maps", ctypes.c_void_p * MAX_LEVELS),
        *((name, ctypes.c_void_p) for name in ("boxes", "image", "level", "output", "grad")),
        ("grad_maps", ctypes.c_void_p * MAX_LEVELS),
    ]


def _call(
    function: str,
    regions: tuple[Tensor, Tensor, Tensor],
    num_images: int,
    sizes: list[int],
    scales: list[float],
    maps: list[Tensor],
    bins: Tensor,
) -> None:
    """Run a function of the kernel, on levels (N, h, w, C) and bins (R, output_size, output_size, C)."""
    boxes, image_index, levels = regions
    count, size, _, channels = bins.shape
    assert channels % MULTIPLE == 0, f"{channels} channels"
    assert len(maps) <= MAX_LEVELS, f"{len(maps)} levels"
    assert boxes.shape == (count, 4), f"boxes: {boxes.shape}"
    assert len(image_index) == len(levels) == count, f"{len(image_index)} images, {len(levels)} levels"
    shapes = [(num_images, *hw, channels) for hw in zip(sizes[::2], sizes[1::2], strict=True)]
    assert [x.shape for x in maps] == shapes, f"levels: {[tuple(x.shape) for x in maps]}"
    for name, x, dtype in (
        ("bins", bins, torch.float32),
        ("boxes", boxes, torch.float32),
        ("image_index", image_index, torch.int64),
        ("levels", levels, torch.int64),
        *((f"level {number}", level, torch.float32) for number, level in enumerate(maps)),
    ):
        check_tensor(name, x, dtype)
    arguments = _Arguments(num_images, channels, count, size)
    arguments.heights[: len(maps)], arguments.widths[: len(maps)] = sizes[::2], sizes[1::2]
    arguments.scales[: len(maps)] = scales
    arguments.boxes, arguments.image, arguments.level = (x.data_ptr() for x in regions)
    pointers = [x.data_ptr() for x in maps]
    if function == "pool":
        arguments.maps[: len(maps)], arguments.output = pointers, bins.data_ptr()
    else:
        arguments.grad_maps[: len(maps)], arguments.grad = pointers, bins.data_ptr()
    call_kernel("roi_align", function, arguments)


def _empty_out(
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    maps: list[Tensor],
    num_images: int,
    sizes: list[int],
    scales: list[float],
    output_size: int,
) -> Tensor:
    x, shape = maps[0], (len(boxes), maps[0].shape[1], output_size, output_size)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@operator("native_roi_align", _empty_out)
def _forward(
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    maps: list[Tensor],
    num_images: int,
    sizes: list[int],
    scales: list[float],
    output_size: int,
) -> Tensor:
    out = _empty_out(boxes, image_index, levels, maps, num_images, sizes, scales, output_size)
    regions = boxes.contiguous(), image_index.contiguous(), levels.contiguous()
    rows = [x.permute(0, 2, 3, 1).contiguous() for x in maps]
    _call("pool", regions, num_images, sizes, scales, rows, out.permute(0, 2, 3, 1))
    return out


def _empty_grads(
    grad: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    num_images: int,
    sizes: list[int],
    scales: list[float],
) -> list[Tensor]:
    shapes = zip(sizes[::2], sizes[1::2], strict=True)
    return [grad.new_zeros(num_images, *hw, grad.shape[1]).permute(0, 3, 1, 2) for hw in shapes]


@operator("native_roi_align_backward", _empty_grads)
def _backward(
    grad: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    num_images: int,
    sizes: list[int],
    scales: list[float],
) -> list[Tensor]:
    grads = _empty_grads(grad, boxes, image_index, levels, num_images, sizes, scales)
    regions = boxes.contiguous(), image_index.contiguous(), levels.contiguous()
    rows = [x.permute(0, 2, 3, 1) for x in grads]
    _call("differentiate", regions, num_images, sizes, scales, rows, grad.permute(0, 2, 3, 1).contiguous())
    return grads


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    boxes, image_index, levels, _, *options, _ = inputs
    ctx.save_for_backward(boxes, image_index, levels)
    ctx.options = options


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    grads = _backward(grad, *ctx.saved_tensors, *ctx.options)
    return None, None, None, grads, *[None] * 4


torch.library.register_autograd("mvit_det::native_roi_align", _differentiate, setup_context=_setup_context)
refuse_gradients("native_roi_align_backward", "RoIAlign can be differentiated once")
