import pytest

from mvit_det.errors import InputError
from mvit_det.heads import HEADS, select_head


@pytest.mark.parametrize(
    ("name", "num_masks", "expected"),
    [
        ("auto", 40, "mask_rcnn"),
        ("auto", 39, "faster_rcnn"),
        ("auto", 0, "faster_rcnn"),
        ("auto_cascade", 40, "cascade_mask_rcnn"),
        ("auto_cascade", 12, "cascade_rcnn"),
        ("faster_rcnn", 40, "faster_rcnn"),
        ("cascade_mask_rcnn", 40, "cascade_mask_rcnn"),
    ],
)
def test_masks_decide_only_if_no_head_is_named(name, num_masks, expected):
    assert select_head(name, 40, num_masks)[0] == expected


def test_the_explanation_says_what_decided():
    assert select_head("auto", 40, 12)[1] == (
        "12 of 40 objects have a mask: training a Faster R-CNN on boxes; "
        "to use the masks, add the missing ones"
    )
    assert select_head("auto_cascade", 1, 1)[1] == (
        "1 of 1 object has a mask: training a Cascade Mask R-CNN on boxes and masks"
    )
    assert select_head("auto", 1200, 0)[1] == (
        "0 of 1,200 objects have a mask: training a Faster R-CNN on boxes"
    )


def test_a_head_with_masks_needs_a_mask_of_every_object():
    with pytest.raises(InputError, match="head mask_rcnn: 12 of 40 objects have a mask.* choose faster_rcnn"):
        select_head("mask_rcnn", 40, 12)
    with pytest.raises(InputError, match="head cascade_mask_rcnn: .* choose cascade_rcnn"):
        select_head("cascade_mask_rcnn", 40, 0)
    with pytest.raises(InputError, match="unknown head 'auto_cascad': did you mean 'auto_cascade'"):
        select_head("auto_cascad", 40, 40)


def test_a_head_with_masks_has_the_box_heads_of_the_one_without():
    for boxes, masks in (("faster_rcnn", "mask_rcnn"), ("cascade_rcnn", "cascade_mask_rcnn")):
        assert not HEADS[boxes].has_masks
        assert HEADS[masks].has_masks
        assert HEADS[boxes].iou_thresholds == HEADS[masks].iou_thresholds
        assert HEADS[boxes].num_box_convs == HEADS[masks].num_box_convs
