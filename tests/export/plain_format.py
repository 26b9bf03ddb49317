"""A format of exports for tests, which runs the detector in PyTorch as it is."""

import numpy as np
import torch
from torchvision.models.detection.image_list import ImageList


class PlainSession:
    """A session of :class:`mvit_det.runtime.Detector` that calls the parts of a detector."""

    def __init__(self, detector, min_score, max_detections, score_error):
        self.detector, self.max_detections, self.score_error = detector, max_detections, score_error
        detector.roi_heads.score_thresh = min_score
        detector.roi_heads.detections_per_img = max_detections

    @torch.inference_mode()
    def run(self, images, image_sizes):
        shapes = [tuple(size) for size in image_sizes.tolist()]
        normalized = torch.zeros(images.shape)
        for target, image, (height, width) in zip(normalized, images, shapes, strict=True):
            pixels = torch.from_numpy(image[:, :height, :width])
            target[:, :height, :width] = self.detector.transform._normalize_pixels(pixels)
        maps = self.detector.backbone(normalized)
        proposals, _ = self.detector.rpn(ImageList(normalized, shapes), maps)
        detections, _ = self.detector.roi_heads(maps, proposals, shapes)
        outputs = {
            "boxes": np.zeros((len(images), self.max_detections, 4), np.float32),
            "scores": np.zeros((len(images), self.max_detections), np.float32),
            "labels": np.zeros((len(images), self.max_detections), np.int64),
            "masks": np.zeros((len(images), self.max_detections, 28, 28), np.float32),
            "num_detections": np.array([len(d["scores"]) for d in detections]),
        }
        for index, d in enumerate(detections):
            number = len(d["scores"])
            outputs["boxes"][index, :number] = d["boxes"]
            outputs["scores"][index, :number] = d["scores"] + self.score_error
            outputs["labels"][index, :number] = d["labels"] - 1
            outputs["masks"][index, :number] = d["masks"][:, 0]
        return outputs


class PlainFormat:
    """The functions of a :class:`mvit_det.export.formats.Format`; ``score_error`` makes it disagree."""

    score_error = 0.0

    def write(self, detector, path):
        options = detector.min_score, detector.max_detections, self.score_error
        self.session = PlainSession(detector.detector, *options)
        path.write_bytes(b"model")

    def open(self, path):
        assert path.read_bytes() == b"model"
        return self.session
