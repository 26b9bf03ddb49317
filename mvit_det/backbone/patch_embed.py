"""The patch embedding."""

import torch
from torch import Tensor, nn


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
