"""Whether our Triton kernels give on this device what torch gives, forward and backward."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.backbone.reference import pool, reference
from mvit_det.backbone.triton_attention import triton_attention
from mvit_det.backbone.triton_norm import triton_norm, triton_pooled_norm

MAX_ERROR = 0.03  # relative; roundings to bfloat16 add up to some 0.01


def check_kernels(device: str, dtype: torch.dtype) -> None:
    """Run attention, LayerNorm and pooling, forward and backward, on small random maps, without autocast.

    Raises:
        RuntimeError: if one gives something else than torch does in float32. Whatever keeps Triton from
            running comes through as it is.
    """
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cpu").to(device, dtype)

    q, k, v = random(1, 9, 11, 2, 96), random(1, 5, 6, 2, 96), random(1, 5, 6, 2, 96)
    rel_h, rel_w = 0.1 * random(8, 4, 96), 0.1 * random(8, 4, 96)
    wide = random(1, 3, 40, 1, 96)
    weight, bias, kernel = random(96), random(96), random(96, 1, 3, 3)
    windows = (8, 8), (4, 4)
    _compare("attention", triton_attention, reference, [q, k, v, rel_h, rel_w], (*windows, True))
    _compare("wide attention", _globally(triton_attention), _globally(reference), [wide] * 3, ())
    _compare("LayerNorm", triton_norm, _norm, [q, weight, bias], (1e-6,))
    _compare("pooling", triton_pooled_norm, _pooled_norm, [q, kernel, weight, bias], (1e-6, 2))


def _globally(function: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return an attention without relative positions in which a window is the map."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        map_hw = (q.shape[1], q.shape[2])
        return function(q, k, v, None, None, map_hw, map_hw, False)

    return attend


def _norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def _pooled_norm(x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, eps: float, stride: int) -> Tensor:
    return _norm(pool(x, kernel, stride), weight, bias, eps)


def _compare(
    name: str,
    kernel: Callable[..., Tensor],
    expected: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    options: tuple[object, ...],
) -> None:
    """Compare outputs, and gradients of all tensors, with those in float32."""

    def run(function: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        inputs = [tensor.to(dtype, copy=True).requires_grad_() for tensor in tensors]
        out = function(*inputs, *options)
        return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]

    pairs = zip(run(kernel, tensors[0].dtype), run(expected, torch.float32), strict=True)
    error = max(((a.float() - b).norm() / b.norm()).item() for a, b in pairs)
    if not error <= MAX_ERROR:
        raise RuntimeError(f"our kernel for {name} is off by {error:.2g}")
