"""The small layers of a block."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mvit_det.backbone.recompute import Layer, linears


class PatchEmbed(nn.Module):
    """Cut images into overlapping patches and project them: (N, 3, H, W) -> (N, h, w, C).

    Raises:
        ValueError: if there is no batch axis, or an image has a side below 32 px, the stride of the
            last stage.
    """

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
        if images.dim() != 4:
            raise ValueError(f"images of shape {tuple(images.shape)}: expected (N, channels, H, W)")
        height, width = images.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"images of {height} x {width} px: both sides must be at least 32 px")
        images = images.contiguous(memory_format=torch.channels_last)  # and so, mostly, what comes out
        return self.proj(images).permute(0, 2, 3, 1).contiguous()


class Mlp(nn.Module):
    """Two linear layers with an activation between them, over the last axis."""

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        dim_out: int,
        act_layer: Callable[[], nn.Module],
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_dim, dim_out)
        self.recompute = recompute

    def forward(self, x: Tensor, norm: nn.Module, *beside: Layer) -> tuple[Tensor, ...]:
        """Map ``norm(x)`` (..., dim) to (..., dim_out), and by the layers ``beside`` the MLP."""
        first, second = ((layer.weight, layer.bias) for layer in (self.fc1, self.fc2))
        hidden, *others = linears(norm, x, first, *beside, recompute=self.recompute)
        (x,) = linears(self.act, hidden, second, recompute=self.recompute)
        return x, *others


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
