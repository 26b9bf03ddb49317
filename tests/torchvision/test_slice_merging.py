import numpy as np
import supervision as sv

from mvit_det.torchvision.slice_merging import merge_slices


def merged_boxes(*slices):
    """Merge the detections of two slices, each from (left, right, score, class id)."""
    detections = [
        sv.Detections(
            np.array([[left, 20, right, 60] for left, right, *_ in objects], np.float32),
            None,
            np.array([score for _, _, score, _ in objects]),
            np.array([class_id for *_, class_id in objects]),
        )
        for objects in slices
    ]
    merged = merge_slices(detections, [(0, 0, 100, 100), (70, 0, 170, 100)])
    return [(box[0], box[2]) for box in merged.xyxy.tolist()]


def test_a_whole_object_is_preferred_to_one_that_is_cut():
    assert merged_boxes([(68, 100, 0.9, 1)], [(73, 110, 0.6, 1)]) == [(73, 110)]


def test_the_higher_score_is_preferred_among_whole_objects():
    assert merged_boxes([(75, 95, 0.6, 1)], [(75, 96, 0.9, 1)]) == [(75, 96)]


def test_objects_of_one_slice_are_not_merged():
    pair = [(75, 91, 0.9, 1), (79, 95, 0.8, 1)]
    assert merged_boxes(pair, pair) == [(75, 91), (79, 95)]


def test_objects_of_two_classes_are_not_merged():
    assert merged_boxes([(75, 95, 0.9, 1)], [(75, 96, 0.6, 2)]) == [(75, 95), (75, 96)]
