"""MViT as a backbone of Detectron2."""

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from mvit_det.backbone.mvit import MViT


class MViTBackbone(MViT, Backbone):
    """An :class:`mvit_det.MViT` that reports its output shapes; replaces ``detectron2.modeling.MViT``.

    It takes images of any size from 32 x 32 px and requires no padding. A feature pyramid on top of it
    adds upsampled maps, and therefore pads images to a multiple of its largest stride.
    """

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and the stride (in pixels) of each output by name."""
        return {
            name: ShapeSpec(channels=channels, stride=self.out_strides[name])
            for name, channels in self.out_channels.items()
        }
