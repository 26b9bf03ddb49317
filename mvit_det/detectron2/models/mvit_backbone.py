"""MViT as a backbone of Detectron2."""

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from mvit_det.backbone.mvit import MViT


class MViTBackbone(MViT, Backbone):
    """:class:`mvit_det.MViT` that says its output shapes; a drop-in for ``detectron2.modeling.MViT``.

    It takes pictures of any size from 32 x 32 px, and so asks for no padding of its own; the feature
    pyramid on top of it, which adds up maps of doubled size, asks for multiples of its last stride.
    """

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return name -> channels and stride (px) of each output."""
        return {
            name: ShapeSpec(channels=channels, stride=self.out_strides[name])
            for name, channels in self.out_channels.items()
        }
