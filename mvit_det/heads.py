"""The detection heads that this project builds, in one table.

The command-line flags, the builders of both integrations, checkpoints, weights and evaluation all read
this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """One kind of R-CNN.

    A cascade has several box heads; each one refines the boxes of the one before. The tuples have one
    item per box head.

    Attributes:
        title: name for display.
        has_masks: whether the detector predicts a mask for each object.
        iou_thresholds: minimum IoU of a region with an object for the region to be positive.
        box_weights: factors of the box deltas (x, y, width, height).
        class_agnostic_boxes: whether a box head predicts one box per region, rather than one per class.
        num_box_convs: number of convolutions in a box head, before one linear layer. With 0, the box
            head is two linear layers.
        num_rpn_convs: number of convolutions in the region proposal network.
        has_batch_norm: whether batch norm follows the convolutions of the box and mask heads.

    Source: Mask R-CNN, arXiv 1703.06870; Cascade R-CNN, arXiv 1906.09756.
    """

    title: str
    has_masks: bool
    iou_thresholds: tuple[float, ...]
    box_weights: tuple[tuple[float, float, float, float], ...]
    class_agnostic_boxes: bool
    num_box_convs: int
    num_rpn_convs: int
    has_batch_norm: bool

    @property
    def is_cascade(self) -> bool:
        """Whether there are several box heads."""
        return len(self.iou_thresholds) > 1


HEADS = {
    "mask_rcnn": Head(
        title="Mask R-CNN",
        has_masks=True,
        iou_thresholds=(0.5,),
        box_weights=((10.0, 10.0, 5.0, 5.0),),
        class_agnostic_boxes=False,
        num_box_convs=0,
        num_rpn_convs=1,
        has_batch_norm=False,
    ),
    "cascade_mask_rcnn": Head(
        title="Cascade Mask R-CNN",
        has_masks=True,
        iou_thresholds=(0.5, 0.6, 0.7),
        box_weights=((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        class_agnostic_boxes=True,
        num_box_convs=4,
        num_rpn_convs=2,
        has_batch_norm=True,
    ),
}
