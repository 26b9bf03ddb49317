"""Custom operators of exported PyTorch programs, which use the fastest kernels of the machine that runs them.

Without them, ``torch.export`` decomposes attention and convolutions into PyTorch operators. AOTInductor then
takes long to compile attention with a dynamic number of windows, and gives wrong results for consecutive
convolutions of dynamic size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.ops.attention import attention
from mvit_det.ops.convolution import conv2d
from mvit_det.ops.custom_op import operator
from mvit_det.ops.relative_bias import RelPos


def _empty_attention(q: Tensor, *_: object) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@operator("attention", _empty_attention)
def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> Tensor:
    rel_pos = RelPos.from_optional(rel_h, rel_w)
    windows = (q_window[0], q_window[1]), (kv_window[0], kv_window[1])
    return attention(q, k, v, rel_pos, *windows, residual).contiguous()


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos: RelPos | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool = False,
    implementation: str = "auto",
) -> Tensor:
    """Compute :func:`mvit_det.ops.attention.attention` as one operator; ``implementation`` is ignored."""
    rel_h, rel_w = (None, None) if rel_pos is None else rel_pos
    out: Tensor = _attention(q, k, v, rel_h, rel_w, list(q_window), list(kv_window), residual)
    return out


def _empty_convolution(*arguments: Any) -> Tensor:
    return F.conv2d(*arguments).contiguous(memory_format=torch.channels_last)


@operator("convolution", _empty_convolution)
def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    side = weight.shape[-1]
    geometry = list(weight.shape[2:]), stride, padding, dilation, groups
    if side in (1, 3) and geometry == ([side] * 2, [1, 1], [side // 2] * 2, [1, 1], 1):
        out = conv2d(x, weight, bias)
    else:
        out = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    return out.contiguous(memory_format=torch.channels_last)


DEFAULTS = (None, [1, 1], [0, 0], [1, 1], 1)  # of bias, stride, padding, dilation and groups


def use_attention_operator(detector: ExportableDetector) -> None:
    """Make the attention of each block call :func:`attend`."""
    for module in detector.modules():
        if isinstance(module, MultiScaleAttention):
            module.attend = attend


def use_convolution_operator(program: ExportedProgram) -> None:
    """Replace the convolutions of PyTorch in a program with our operator."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.conv2d.default:
            node.target = torch.ops.mvit_det.convolution.default
            node.args = (*node.args, *DEFAULTS[len(node.args) - 2 :])
    program.graph_module.recompile()
