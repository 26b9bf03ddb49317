"""The detection heads: what sets one R-CNN apart from another, in one table.

Everything that depends on the head reads this table: the command-line flags, the builders of both
integrations, checkpoints, weights and evaluation.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """One kind of R-CNN.

    Attributes:
        title: the name in print.
        has_masks: whether it predicts a mask for each object.
        iou_thresholds: for each box head, the least IoU with an object at which a region is positive.
        box_weights: for each box head, the scales of the box deltas (x, y, width, height).
        num_box_convs: convolutions in a box head, each with batch norm; 0 stands for two linear layers.
        num_rpn_convs: convolutions in the region proposal network.

    Source: Mask R-CNN, arXiv 1703.06870; Cascade R-CNN, arXiv 1906.09756.
    """

    title: str
    has_masks: bool
    iou_thresholds: tuple[float, ...]
    box_weights: tuple[tuple[float, float, float, float], ...]
    num_box_convs: int
    num_rpn_convs: int

    @property
    def is_cascade(self) -> bool:
        """Whether several box heads follow each other, each on the boxes that the last one refined."""
        return len(self.iou_thresholds) > 1


HEADS = {
    "mask_rcnn": Head(
        title="Mask R-CNN",
        has_masks=True,
        iou_thresholds=(0.5,),
        box_weights=((10.0, 10.0, 5.0, 5.0),),
        num_box_convs=0,
        num_rpn_convs=1,
    ),
    "cascade_mask_rcnn": Head(
        title="Cascade Mask R-CNN",
        has_masks=True,
        iou_thresholds=(0.5, 0.6, 0.7),
        box_weights=((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        num_box_convs=4,
        num_rpn_convs=2,
    ),
}
