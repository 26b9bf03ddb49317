"""The arithmetic that a forward pass of our backbone needs."""

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from mvit_det.backbone.mvit import build_mvit


@lru_cache
def count_gflop(variant: str, height: int, width: int) -> float:
    """Return the GFLOP of a forward pass on one image; a multiply-add counts as two operations."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        build_mvit(variant, attention="reference").eval()(torch.empty(1, 3, height, width))
    return counter.get_total_flops() / 1e9
