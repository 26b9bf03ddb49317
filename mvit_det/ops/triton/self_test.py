"""Compares the Triton kernels with PyTorch operators."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.pooling import depthwise_pool
from mvit_det.ops.self_test import check_attention, compare, random_tensors
from mvit_det.ops.triton.attention import triton_attention
from mvit_det.ops.triton.norm import triton_norm, triton_pooled_norm


def check_triton(device: str, dtype: torch.dtype) -> None:
    """Run attention, LayerNorm and pooling on small random maps, forward and backward.

    Does not catch the exceptions of Triton, such as that of a missing compiler.

    Raises:
        RuntimeError: if a result differs from that of PyTorch operators in float32.
    """
    like = torch.empty(0, device=device, dtype=dtype)
    check_attention(triton_attention, like)
    x, kernel, weight, bias = random_tensors(like, (1, 9, 11, 2, 96), (96, 1, 3, 3), (96,), (96,))
    compare("LayerNorm", triton_norm, _norm, [x, weight, bias], (1e-6,))
    compare("pooling", triton_pooled_norm, _pooled_norm, [x, kernel, weight, bias], (1e-6, 2))


def _norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def _pooled_norm(x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, eps: float, stride: int) -> Tensor:
    return _norm(depthwise_pool(x, kernel, stride), weight, bias, eps)
