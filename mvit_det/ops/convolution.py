"""Convolutions of feature pyramids and heads, which are faster on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_det.ops.autocast import cast
from mvit_det.ops.availability import has_native
from mvit_det.ops.linear import affine
from mvit_det.ops.native.convolution import MULTIPLE, native_conv3x3


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that computes :func:`conv2d`; see :func:`is_supported`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return conv2d(input, weight, bias)


def is_supported(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution that :func:`conv2d` can compute."""
    if not isinstance(layer, nn.Conv2d):
        return False
    side = layer.kernel_size[0]
    geometry = layer.kernel_size, layer.padding, layer.stride, layer.dilation, layer.groups
    expected = (side, side), (side // 2, side // 2), (1, 1), (1, 1), 1
    return side in (1, 3) and geometry == expected and layer.padding_mode == "zeros"


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with 1x1 or 3x3 filters, at stride 1 and with as much padding as keeps the size.

    On a CPU in float32, the result is channels-last, and 3x3 filters need fewer multiplications than with
    ``F.conv2d``.

    Args:
        x: (N, C, H, W); channels-last if it should not be copied.
        weight: (D, C, 1, 1) or (D, C, 3, 3).
        bias: (D,) or None.

    Returns:
        (N, D, H, W).
    """
    side = weight.shape[-1]
    x = cast(x)
    is_usual = x.dim() == 4 and x.shape[1] == weight.shape[1] and weight.dtype == torch.float32
    if is_usual and has_native(x.device.type, x.dtype, "convolution"):
        if side == 1:
            return affine(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        if weight.shape[0] % MULTIPLE == weight.shape[1] % MULTIPLE == 0:
            return native_conv3x3(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=side // 2)


def use_fast_convolutions(model: nn.Module) -> None:
    """Let the convolutions of a model that are supported compute :func:`conv2d`.

    The modules stay the same objects, with the same parameters; only their class changes. Those of a subclass
    of ``nn.Conv2d`` are left as they are.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and is_supported(module):
            module.__class__ = Conv2d
