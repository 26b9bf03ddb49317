"""Tracking of objects over the frames of a video."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import supervision as sv

from mvit_det.errors import InputError
from mvit_det.report.detections import NO_TRACK

T = TypeVar("T")


def track_objects(
    predictions: Iterable[tuple[T, sv.Detections]], rate: float, min_score: float
) -> Iterator[tuple[T, sv.Detections]]:
    """Yield the detections of successive frames with ``tracker_id``, a number from 1 for each object.

    The number is ``NO_TRACK`` in the first frame of an object, and for a low score that continues no track.
    An object that is not detected for a second gets a new number.

    Args:
        predictions: frames and their detections, with scores and class ids.
        rate: frames per second.
        min_score: the lowest score of a detection that starts a track. Detections with lower scores only
            continue one.

    Source: ByteTrack, arXiv 2110.06864.
    """
    from trackers import ByteTrackTracker  # only videos need the package

    # One for each class: a detector may find an object as two classes, whose tracks would be confused.
    trackers: defaultdict[int, ByteTrackTracker] = defaultdict(
        lambda: ByteTrackTracker(
            frame_rate=rate, track_activation_threshold=min_score, high_conf_det_threshold=min_score
        )
    )
    numbers: dict[tuple[int, int], int] = {}  # class and number of its tracker -> number among all tracks
    for frame, detections in predictions:
        objects: Any = detections
        objects.tracker_id = np.full(len(objects), NO_TRACK)
        for class_id in sorted({*trackers, *objects.class_id.tolist()}):
            indexes = np.flatnonzero(objects.class_id == class_id)
            boxes, scores = objects.xyxy[indexes], objects.confidence[indexes]
            # The tracker changes the order of detections, so that their indexes must go with them.
            tracked: Any = trackers[class_id].update(sv.Detections(boxes, None, scores, indexes))
            for index, track_id in zip(tracked.class_id.tolist(), tracked.tracker_id.tolist(), strict=True):
                if track_id >= 0:
                    number = numbers.setdefault((class_id, track_id), len(numbers) + 1)
                    objects.tracker_id[index] = number
        yield frame, objects


def not_a_video(sources: Sequence[str | Path]) -> InputError:
    """Return the error for images whose objects are to be tracked."""
    return InputError(f"{sources[0]}: is not a video, and only the objects of a video can be tracked")
