from types import SimpleNamespace

import numpy as np
import pytest

from mvit_det.export.agreement import compare_detections, total_agreement

NAMES = {3: "cat", 7: "dog"}


def detections(*items, masks=None):
    """Detections from (class id, score, x1, y1, x2, y2)."""
    table = np.array(items, float).reshape(-1, 6)
    class_id = table[:, 0].astype(int)
    return SimpleNamespace(
        xyxy=table[:, 2:].astype(np.float32),
        confidence=table[:, 1].astype(np.float32),
        class_id=class_id,
        mask=None if masks is None else np.array(masks, bool),
        data={"class_name": np.array([NAMES[id_] for id_ in class_id], str)},
    )


def compare(checkpoint, export, min_score=0.05, max_detections=100):
    return compare_detections(checkpoint, export, min_score=min_score, max_detections=max_detections)


def mask(*filled):
    """A (1, 10) mask with true in the columns from ``filled[0]`` to ``filled[1]``, exclusive."""
    return [[filled[0] <= column < filled[1] for column in range(10)]]


def test_equal_detections_match():
    items = detections((3, 0.9, 0, 0, 100, 50), (7, 0.4, 10, 10, 20, 30))
    result = compare(items, items)
    assert (result.num_checkpoint, result.num_export, result.num_matched) == (2, 2, 2)
    assert (result.score_difference, result.box_difference, result.mask_difference) == (0, 0, 0)
    assert result.share == 1
    assert result.unmatched == ()


def test_none_on_both_sides():
    result = compare(detections(), detections())
    assert result.share == 1
    assert (result.num_checkpoint, result.num_export, result.num_matched) == (0, 0, 0)


def test_the_differences_of_a_match():
    result = compare(detections((3, 0.9, 0, 0, 100, 50)), detections((3, 0.8995, 0, 0.25, 100, 50)))
    assert result.num_matched == 1  # IoU 49.75 / 50
    assert result.score_difference == pytest.approx(0.0005, abs=1e-6)
    assert result.box_difference == 0.25


@pytest.mark.parametrize(
    ("item", "difference"),
    [
        ((7, 0.9, 0, 0, 100, 50), "the other model does not detect it"),  # another class
        ((3, 0.8985, 0, 0, 100, 50), "scores 0.9000 and 0.8985, box IoU 1.0000"),
        ((3, 0.9, 0, 0, 98.5, 50), "scores 0.9000 and 0.9000, box IoU 0.9850"),
        ((3, 0.9, 0, 0, 40, 50), "the other model does not detect it"),  # IoU 0.4
    ],
)
def test_a_detection_that_differs_counts_on_both_sides(item, difference):
    result = compare(detections((3, 0.9, 0, 0, 100, 50)), detections(item))
    assert (result.num_matched, result.share) == (0, 0)
    assert [unmatched.model for unmatched in result.unmatched] == ["checkpoint", "export"]
    assert {unmatched.difference for unmatched in result.unmatched} == {difference}
    assert str(result.unmatched[0]) == f"cat of the checkpoint with score 0.9000: {difference}"


def test_the_differences_of_pairs_that_do_not_match():
    result = compare(detections((3, 0.9, 0, 0, 100, 50)), detections((3, 0.7, 0, 0, 60, 50)))
    assert result.num_matched == 0
    assert result.score_difference == pytest.approx(0.2, abs=1e-6)
    assert result.box_difference == 40


def test_an_additional_detection_counts():
    checkpoint = detections((3, 0.9, 0, 0, 100, 50))
    export = detections((3, 0.9, 0, 0, 100, 50), (7, 0.5, 0, 0, 10, 10))
    result = compare(checkpoint, export)
    assert result.share == pytest.approx(2 / 3)
    assert [(u.model, u.class_name, u.score) for u in result.unmatched] == [("export", "dog", 0.5)]


def test_a_duplicate_matches_once():
    one = detections((3, 0.9, 0, 0, 100, 50))
    two = detections((3, 0.9, 0, 0, 100, 50), (3, 0.9, 0, 0, 100, 50))
    for result in (compare(one, two), compare(two, one)):
        assert result.num_matched == 1
        assert result.share == pytest.approx(2 / 3)


def test_a_near_detection_does_not_take_the_match_of_another():
    # The first detection of the checkpoint overlaps the only one of the export, which matches the second.
    checkpoint = detections((3, 0.9, 0, 0, 60, 50), (3, 0.5, 0, 0, 100, 50))
    result = compare(checkpoint, detections((3, 0.5, 0, 0, 100, 50)))
    assert result.num_matched == 1
    assert [u.score for u in result.unmatched] == [pytest.approx(0.9)]
    assert result.box_difference == 0


def test_masks():
    checkpoint = detections((3, 0.9, 0, 0, 10, 1), (7, 0.5, 0, 0, 10, 1), masks=[mask(0, 8), mask(0, 0)])
    assert compare(checkpoint, checkpoint).num_matched == 2  # also without a pixel in both
    export = detections((3, 0.9, 0, 0, 10, 1), (7, 0.5, 0, 0, 10, 1), masks=[mask(2, 8), mask(0, 0)])
    result = compare(checkpoint, export)
    assert result.num_matched == 1
    assert result.mask_difference == pytest.approx(0.25)  # 6 of 8 pixels
    assert result.unmatched[0].difference == "scores 0.9000 and 0.9000, box IoU 1.0000, mask IoU 0.7500"


def test_scores_at_the_threshold_do_not_count_as_unmatched():
    low = detections((3, 0.0508, 0, 0, 10, 10))
    for result in (compare(low, detections()), compare(detections(), low)):
        assert (result.share, result.num_matched, result.unmatched) == (1, 0, ())
    assert compare(low, low).num_matched == 1
    assert compare(detections((3, 0.0512, 0, 0, 10, 10)), detections()).share == 0


def test_the_last_of_the_largest_number_of_detections_do_not_count_as_unmatched():
    first, second, third = (7, 0.9, 0, 0, 9, 9), (3, 0.4002, 20, 0, 30, 9), (3, 0.4, 40, 0, 50, 9)
    checkpoint, export = detections(first, second), detections(first, third)
    assert compare(checkpoint, export, max_detections=2).share == 1
    assert compare(checkpoint, export).share == 0.5
    higher = detections(first, (3, 0.402, 20, 0, 30, 9))
    result = compare(higher, export, max_detections=2)
    assert [(u.model, u.score) for u in result.unmatched] == [("checkpoint", pytest.approx(0.402))]


def test_the_total_of_several_images():
    item = detections((3, 0.9, 0, 0, 100, 50))
    moved = compare(item, detections((3, 0.8995, 0, 0.25, 100, 50)))
    total = total_agreement([compare(item, item), moved, compare(item, detections())])
    assert (total.num_checkpoint, total.num_export, total.num_matched) == (3, 2, 2)
    assert total.share == 0.8
    assert total.box_difference == 0.25
    assert [unmatched.model for unmatched in total.unmatched] == ["checkpoint"]
    assert total_agreement([]).share == 1
