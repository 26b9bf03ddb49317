"""The detection heads that this project builds, in one table.

The command-line flags, the builders of both integrations, checkpoints, weights and evaluation all read
this table.
"""

from dataclasses import dataclass, replace

from mvit_det.errors import InputError, counted, unknown_name


@dataclass(frozen=True)
class Head:
    """One kind of R-CNN.

    A cascade has several box heads, each of which refines the boxes of the previous one. It predicts one box
    per region rather than one per class, and batch norm follows the convolutions of its box and mask heads.

    The tuples have one item per box head.

    Attributes:
        title: name for display.
        has_masks: whether the detector predicts a mask for each object.
        iou_thresholds: minimum IoU of a region with an object for the region to count as positive.
        box_weights: factors by which the box deltas (x, y, width, height) are scaled.
        num_box_convs: number of convolutions in a box head, which one linear layer follows. With 0,
            the box head consists of two linear layers.
        num_rpn_convs: number of convolutions in the region proposal network.

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
        """Whether there are several box heads."""
        return len(self.iou_thresholds) > 1


_FASTER_RCNN = Head(
    title="Faster R-CNN",
    has_masks=False,
    iou_thresholds=(0.5,),
    box_weights=((10.0, 10.0, 5.0, 5.0),),
    num_box_convs=0,
    num_rpn_convs=1,
)
_CASCADE_RCNN = Head(
    title="Cascade R-CNN",
    has_masks=False,
    iou_thresholds=(0.5, 0.6, 0.7),
    box_weights=((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
    num_box_convs=4,
    num_rpn_convs=2,
)
HEADS = {
    "faster_rcnn": _FASTER_RCNN,
    "mask_rcnn": replace(_FASTER_RCNN, title="Mask R-CNN", has_masks=True),
    "cascade_rcnn": _CASCADE_RCNN,
    "cascade_mask_rcnn": replace(_CASCADE_RCNN, title="Cascade Mask R-CNN", has_masks=True),
}

# Name that leaves the choice to the data -> the head without masks and the head with masks.
AUTOMATIC = {
    "auto": ("faster_rcnn", "mask_rcnn"),
    "auto_cascade": ("cascade_rcnn", "cascade_mask_rcnn"),
}


def select_head(name: str, num_objects: int, num_masks: int) -> tuple[str, str]:
    """Return the head to train on a data set, and the reason for the choice, in one sentence.

    Args:
        name: a key of :data:`HEADS`, or of :data:`AUTOMATIC` to choose the head with masks if every object
            has a mask, and else the one without.
        num_objects: number of objects in the data set, not counting crowd regions.
        num_masks: number of these objects that have a mask.

    Raises:
        InputError: for an unknown name, or if a head with masks is named and objects lack masks.
    """
    if name not in HEADS and name not in AUTOMATIC:
        raise unknown_name("head", name, [*AUTOMATIC, *HEADS])
    has_all_masks = num_masks == num_objects
    head = AUTOMATIC[name][has_all_masks] if name in AUTOMATIC else name
    spec = HEADS[head]
    verb = "has" if num_masks == 1 else "have"
    coverage = f"{num_masks:,} of {counted(num_objects, 'object')} {verb} a mask"
    if spec.has_masks and not has_all_masks:
        alternative = next(boxes for boxes, masks in AUTOMATIC.values() if masks == head)
        raise InputError(
            f"head {head}: {coverage}, and it trains on a mask of every object; add the missing masks, or "
            f"choose {alternative}, which trains on boxes alone"
        )
    explanation = f"training a {spec.title} on boxes{' and masks' * spec.has_masks}"
    if name in AUTOMATIC and num_masks and not has_all_masks:
        explanation += "; to use the masks, add the missing ones"
    return head, f"{coverage}: {explanation}"
