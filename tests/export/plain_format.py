"""A format of exports for tests, which runs the plain detector in PyTorch."""

import numpy as np
import torch

from tests.export.detectors import plain_detections


class PlainSession:
    """A session of :class:`mvit_det.runtime.Detector` that runs the plain detector, with masks."""

    def __init__(self, detector, min_score, max_detections, score_error=0.0):
        self.detector, self.max_detections, self.score_error = detector, max_detections, score_error
        detector.roi_heads.score_thresh = min_score
        detector.roi_heads.detections_per_img = max_detections

    def run(self, images, image_sizes):
        detections = plain_detections(self.detector, torch.from_numpy(images), torch.from_numpy(image_sizes))
        rows = len(images), self.max_detections
        outputs = {
            "boxes": np.zeros((*rows, 4), np.float32),
            "scores": np.zeros(rows, np.float32),
            "labels": np.zeros(rows, np.int64),
            "masks": np.zeros((*rows, 28, 28), np.float32),
            "num_detections": np.array([len(image["scores"]) for image in detections]),
        }
        for index, image in enumerate(detections):
            count = len(image["scores"])
            outputs["boxes"][index, :count] = image["boxes"]
            outputs["scores"][index, :count] = image["scores"] + self.score_error
            outputs["labels"][index, :count] = image["labels"] - 1
            outputs["masks"][index, :count] = image["masks"][:, 0]
        return outputs


class PlainFormat:
    """The functions of a :class:`mvit_det.export.formats.Format`; ``score_error`` makes it disagree."""

    score_error = 0.0

    def write(self, detector, path, precision, calibration):
        options = detector.min_score, detector.max_detections, self.score_error
        self.session = PlainSession(detector.detector, *options)
        path.write_bytes(b"model")

    def open(self, path):
        assert path.read_bytes() == b"model"
        return self.session
