"""Stochastic depth."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for whole images at random during training: (N, ...) -> (N, ...).

    The branches that remain are scaled by 1 / (1 - rate), so that the expectation is unchanged.

    Args:
        rate: probability of dropping the branch of an image.

    Raises:
        ValueError: if ``rate`` is not in [0, 1).

    Source: "Deep Networks with Stochastic Depth", arXiv 1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop path rate {rate}: must be at least 0 and below 1")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep_rate = 1 - self.rate
        mask = torch.empty((x.shape[0],) + (1,) * (x.dim() - 1), dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(keep_rate).div_(keep_rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"
