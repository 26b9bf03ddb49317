"""The detections of one image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Detections:
    """The detections of one image, highest score first, with the fields of supervision's ``Detections``.

    ``supervision.Detections(**vars(detections))`` converts them.

    Attributes:
        xyxy: (K, 4) float32 boxes in px of the image.
        mask: (K, H, W) bool, or None if the detector has no masks.
        confidence: (K,) float32 scores in 0..1.
        class_id: (K,) category ids, keys of :attr:`mvit_det.runtime.Detector.categories`.
        data: ``class_name``, the (K,) names of the categories.
    """

    xyxy: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int64]
    data: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an item of ``data``: ``detections["class_name"]``."""
        return self.data[name]
