"""Maps and windows that every implementation of attention is tried on."""

import torch

from mvit_det.ops.attention import attention
from mvit_det.ops.relative_bias import RelPos

# name: batch, heads, map and window of queries, map and window of keys
CASES = {
    "global": (1, 2, (5, 7), (5, 7), (3, 4), (3, 4)),
    "one token": (2, 1, (1, 1), (1, 1), (1, 1), (1, 1)),
    "whole windows": (2, 3, (8, 12), (4, 4), (4, 6), (2, 2)),
    "filled-up windows": (2, 2, (9, 13), (4, 4), (5, 7), (2, 2)),
    "a window larger than the map": (1, 2, (3, 2), (7, 7), (3, 2), (7, 7)),
    "more keys than queries": (1, 2, (5, 6), (2, 2), (10, 11), (4, 4)),
}


def inputs(case, dtype=torch.float64, channels=6):
    torch.manual_seed(0)
    n, heads, q_hw, q_window, kv_hw, kv_window = CASES[case]
    shapes = [(n, *q_hw, heads, channels), (n, *kv_hw, heads, channels), (n, *kv_hw, heads, channels)]
    shapes += [(q_window[0], kv_window[0], channels), (q_window[1], kv_window[1], channels)]
    tensors = [torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]
    return tensors, q_window, kv_window


def attend(tensors, *arguments):
    """Call ``attention`` with [q, k, v, rel_h, rel_w], of which the last two may be None."""
    q, k, v, rel_h, rel_w = tensors
    return attention(q, k, v, None if rel_h is None else RelPos(rel_h, rel_w), *arguments)


def with_gradients(tensors, *arguments):
    out = attend(tensors, *arguments)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = [tensor for tensor in tensors if tensor is not None]
    return [out, *torch.autograd.grad(out, wanted, upstream.to(out))]
