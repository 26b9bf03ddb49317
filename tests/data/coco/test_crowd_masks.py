"""Masks of crowd regions that have a box alone."""

from mvit_det.data.coco.crowd_masks import with_crowd_masks


def test_the_box_is_the_mask_of_a_crowd_without_one():
    polygon = [[0, 0, 9, 0, 9, 9]]
    crowd = {"bbox": [1, 2, 3, 4], "iscrowd": 1}
    others = [crowd | {"segmentation": polygon}, {"bbox": [1, 2, 3, 4], "iscrowd": 0}]
    filled, *rest = with_crowd_masks([crowd, *others])
    assert filled == crowd | {"segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]]}
    assert rest == others
    assert "segmentation" not in crowd


def test_the_box_of_a_crowd_is_clipped_to_what_an_image_can_have():
    [crowd] = with_crowd_masks([{"bbox": [-5, 0, 1e9, 1e9], "iscrowd": 1}])
    assert crowd["segmentation"] == [[0, 0, 32767, 0, 32767, 32767, 0, 32767]]
