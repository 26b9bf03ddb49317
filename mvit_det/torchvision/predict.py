"""Prediction with a detector on images, videos and cameras."""

from collections.abc import Iterable, Iterator
from typing import Any

import supervision as sv

from mvit_det.data.frames import Frame
from mvit_det.report.console import print_line
from mvit_det.report.predictions import PredictOptions, write_detections
from mvit_det.torchvision.engine.processes import build_console
from mvit_det.torchvision.inference import Detector

MIN_SCORE = 0.05  # of a detection in the results


def predict(options: PredictOptions, *, batch_size: int = 8, **detector_options: Any) -> None:
    """Detect objects in images, folders, a video or with a camera; see :func:`write_detections`.

    Args:
        options: the input, the checkpoint and the output folder.
        batch_size: see :meth:`Detector.stream`.
        **detector_options: keywords of :class:`Detector`.

    Raises:
        InputError: if an input cannot be used.
        RunError: if images were left out because they cannot be read.
    """
    detector = Detector(options.checkpoint, min_score=MIN_SCORE, **detector_options)
    console = build_console()
    largest = 0  # px

    def detect(frames: Iterable[Frame]) -> Iterator[tuple[Frame, sv.Detections]]:
        nonlocal largest
        for frame, detections in detector.detect_frames(frames, batch_size):
            largest = max(largest, *frame.image.shape[:2])
            yield frame, detections

    write_detections(options, detect, detector.categories, console)
    if detector.slice_size is not None and largest <= detector.slice_size:
        print_line(
            console, f"no image is larger than a slice of {detector.slice_size} px: slices had no effect"
        )
