"""Prediction with a detector on images, videos and cameras."""

from functools import partial

from mvit_det.report.predictions import PredictOptions, write_detections
from mvit_det.torchvision.engine.processes import build_console
from mvit_det.torchvision.inference import Detector

MIN_SCORE = 0.05  # of a detection in the results


def predict(
    options: PredictOptions, *, soft_nms: str | None = None, precision: str = "auto", batch_size: int = 8
) -> None:
    """Detect objects in images, folders, a video or with a camera; see :func:`write_detections`.

    Args:
        options: the input, the checkpoint and the output folder.
        soft_nms: a key of :data:`mvit_det.nms.SOFT_NMS`, or None for NMS.
        precision: see :class:`Detector`.
        batch_size: see :meth:`Detector.stream`.

    Raises:
        InputError: if an input cannot be used.
        RunError: if images were left out because they cannot be read.
    """
    detector = Detector(options.checkpoint, min_score=MIN_SCORE, soft_nms=soft_nms, precision=precision)
    detect = partial(detector.detect_frames, batch_size=batch_size)
    write_detections(options, detect, detector.categories, build_console())
