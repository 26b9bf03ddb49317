import numpy as np
import pytest
import supervision as sv

from mvit_det.report.tracking import track_objects

pytest.importorskip("trackers")


def frame(*objects):
    """The detections of a frame, from (left, class id, score) of each object."""
    lefts, ids, scores = zip(*objects, strict=True) if objects else ((), (), ())
    boxes = np.array([[left, 10, left + 40, 50] for left in lefts], np.float32).reshape(-1, 4)
    return sv.Detections(boxes, None, np.array(scores, np.float32), np.array(ids, int))


def track(frames, min_score=0.5):
    tracked = list(track_objects(enumerate(frames), 30, min_score))
    assert [number for number, _ in tracked] == list(range(len(frames)))
    return [detections.tracker_id.tolist() for _, detections in tracked]


def test_numbers_are_constant_and_follow_the_order_of_detections():
    frames = [frame((10 + 5 * t, 1, 0.9), (300 - 5 * t, 1, 0.8)) for t in range(10)]
    frames[4] = frames[4][[1, 0]]
    ids = track(frames)
    assert ids == [[-1, -1]] + [[1, 2]] * 3 + [[2, 1]] + [[1, 2]] * 5


def test_objects_of_two_classes_in_one_place_keep_their_numbers():
    frames = [frame((10 + 5 * t, 3 + t % 2, 0.9), (12 + 5 * t, 4 - t % 2, 0.6)) for t in range(8)]
    classes = set()  # (track, class) of every detection
    for detections, ids in zip(frames, track(frames), strict=True):
        classes.update(zip(ids, detections.class_id.tolist(), strict=True))
    assert classes == {(-1, 3), (-1, 4), (1, 3), (2, 4)}


def test_low_scores_continue_a_track_but_do_not_start_one():
    frames = [frame((10, 1, 0.9 if t < 3 else 0.2), (200, 1, 0.3)) for t in range(6)]
    assert track(frames) == [[-1, -1]] + [[1, -1]] * 5


def test_an_object_returns_with_its_number_within_a_second():
    def ids_after(gap):
        frames = [frame((10, 1, 0.9))] * 3 + [frame()] * gap + [frame((10, 1, 0.9))] * 2
        return track([detections[:] for detections in frames])[-1]

    assert ids_after(20) == [1]
    assert ids_after(40) == [2]
