"""Whether a kernel gives what torch's operators give, forward and backward."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mvit_det.ops.reference import reference_attention
from mvit_det.ops.relative_bias import RelPos

# Relative. A kernel that is compiled wrong is off by more; roundings to bfloat16 add up to some 0.01.
MAX_ERROR = 0.03


def random_tensors(like: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Return normal values, the same each time, of the dtype and on the device of ``like``."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, device="cpu").to(like) for shape in shapes]


def check_attention(attention: Callable[..., Tensor], like: Tensor) -> None:
    """Compare an attention with the reference: in windows that reach over the map, and globally.

    Raises:
        RuntimeError: if it is off, see :func:`compare`.
    """
    keys, table, wide = (1, 5, 6, 2, 96), (8, 4, 96), (1, 4, 40, 1, 96)
    q, k, v, rel_h, rel_w, *others = random_tensors(
        like, (1, 9, 11, 2, 96), keys, keys, table, table, wide, wide, wide
    )
    tensors = [q, k, v, 0.1 * rel_h, 0.1 * rel_w]
    compare("attention", _in_windows(attention), _in_windows(reference_attention), tensors, ())
    compare("wide attention", _globally(attention), _globally(reference_attention), others, ())


def _in_windows(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return an attention with relative positions and the residual, in windows of 8 x 8 queries."""

    def attend(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        return function(q, k, v, RelPos(rel_h, rel_w), (8, 8), (4, 4), True)

    return attend


def _globally(function: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return an attention without relative positions in which a window is the map."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        map_hw = (q.shape[1], q.shape[2])
        return function(q, k, v, None, map_hw, map_hw, False)

    return attend


def compare(
    name: str,
    kernel: Callable[..., Tensor],
    expected: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    options: tuple[object, ...],
) -> None:
    """Compare outputs, and gradients of all tensors, with those in float32.

    Raises:
        RuntimeError: if the norm of a difference is more than :data:`MAX_ERROR` times that of what is right.
    """

    def run(function: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        inputs = [tensor.to(dtype, copy=True).requires_grad_() for tensor in tensors]
        out = function(*inputs, *options)
        return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]

    pairs = zip(run(kernel, tensors[0].dtype), run(expected, torch.float32), strict=True)
    error = torch.stack([(a.float() - b).norm() / b.norm() for a, b in pairs]).max().item()  # NaN, if one is
    if not error <= MAX_ERROR:
        raise RuntimeError(f"our kernel for {name} is off by {error:.2g}")
