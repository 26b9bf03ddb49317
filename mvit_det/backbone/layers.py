"""The small layers of a block."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mvit_det.backbone.recompute import linear

# What a CPU computes of an MLP at once without gradients; measured, see docs/performance.md.
CACHED_ELEMENTS = 2**21  # of the hidden layer
MIN_ROWS = 2048

class PatchEmbed(nn.Module):
    """Cut images into overlapping patches and project them: (N, 3, H, W) -> (N, h, w, C)."""

    def __init__(
        self,
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        in_chans: int,
        embed_dim: int,
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size, stride, padding)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).permute(0, 2, 3, 1)


class Mlp(nn.Module):
    """Two linear layers with an activation between them, over the last axis."""

    def __init__(
        self, dim: int, hidden_dim: int, act_layer: Callable[[], nn.Module], recompute: bool = False
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.recompute = recompute

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Map ``norm(x)``; without gradients a CPU does so in parts that stay in its cache."""
        if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._map(x, norm)
        num_rows = max(MIN_ROWS, CACHED_ELEMENTS // self.fc1.out_features)
        parts = [self._map(part, norm) for part in x.flatten(0, -2).split(num_rows)]
        return torch.cat(parts).unflatten(0, x.shape[:-1])

    def _map(self, x: Tensor, norm: nn.Module) -> Tensor:
        (x,) = linear(norm, x, self.fc1.weight, self.fc1.bias, 1, self.recompute)
        (x,) = linear(self.act, x, self.fc2.weight, self.fc2.bias, 1, self.recompute)
        return x


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a whole residual branch per image with probability ``rate``.

    What is kept is scaled by 1 / (1 - rate), so that the expectation stays. Any shape (N, ...).
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
        kept = 1 - self.rate
        mask = torch.empty((x.shape[0],) + (1,) * (x.dim() - 1), dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(kept).div_(kept)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"
