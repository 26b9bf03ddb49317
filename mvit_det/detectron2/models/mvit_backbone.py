"""MViT as a Detectron2 ``Backbone``."""

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from mvit_det.backbone.mvit import MViT


class MViTBackbone(MViT, Backbone):
    """An :class:`mvit_det.MViT` that reports its output shapes; replaces ``detectron2.modeling.MViT``.

    It takes images of any size from 32 x 32 px without padding. A Detectron2 ``FPN`` on top of it pads images
    to a multiple of 32 px, because it adds maps that it upsamples by 2.
    """

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and the stride (in pixels) of each output by name."""
        return {
            name: ShapeSpec(channels=channels, stride=self.out_strides[name])
            for name, channels in self.out_channels.items()
        }
