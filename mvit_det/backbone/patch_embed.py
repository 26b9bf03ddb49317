"""The patch embedding."""

import torch
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Project overlapping patches of images to tokens: (N, in_chans, H, W) -> (N, h, w, embed_dim)."""

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
        """Project images: (N, in_chans, H, W) -> (N, h, w, embed_dim).

        Raises:
            ValueError: if there is no batch axis, or if a side is below 32 px, the least that the four stages
                of the published models can downsample.
        """
        if images.dim() != 4:
            raise ValueError(f"images of shape {tuple(images.shape)}: expected (N, channels, H, W)")
        height, width = images.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"images of {height} x {width} px: both sides must be at least 32 px")
        # A channels-last input usually gives a channels-last output, so the last contiguous() copies nothing.
        images = images.contiguous(memory_format=torch.channels_last)
        return self.proj(images).permute(0, 2, 3, 1).contiguous()
