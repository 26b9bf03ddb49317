"""The feature pyramid network on top of an MViT backbone."""

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mvit_det.backbone.mvit import MViT

LEVELS = ("p2", "p3", "p4", "p5", "p6")


class MViTWithFPN(nn.Module):
    """Backbone of a torchvision detector: MViT and a feature pyramid.

    It maps images (N, 3, H, W) to a dict of ``"p2"`` to ``"p6"``, each (N, out_channels, h, w), with
    strides of 4, 8, 16, 32 and 64 px.

    Source: Feature Pyramid Networks, arXiv 1612.03144.
    """

    def __init__(self, body: MViT, out_channels: int) -> None:
        super().__init__()
        if len(body.out_channels) != 4:
            raise ValueError(f"out_features {(*body.out_channels,)}: the pyramid needs all four stages")
        self.body = body
        self.fpn = FeaturePyramidNetwork(list(body.out_channels.values()), out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        pyramid = self.fpn(self.body(images))
        return dict(zip(LEVELS, pyramid.values(), strict=True))
