"""Images for the calibration of int8 models."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.frames import read_frames
from mvit_det.data.scaling import padded_shape, scaled_shape
from mvit_det.export.program import SIZE_MULTIPLE
from mvit_det.runtime.batch import make_batch

MAX_IMAGES = 50

Batch = dict[str, NDArray[Any]]  # the inputs of an exported model: "images" and "image_sizes"


def calibration_batches(images: Mapping[str, Path | str], short_side: int, long_side: int) -> Iterator[Batch]:
    """Yield the inputs of an exported model for single images, at most 50, evenly spaced.

    Args:
        images: name -> path.
        short_side: length to which the short side of an image is scaled, px.
        long_side: limit on the long side, px.
    """
    step = math.ceil(len(images) / MAX_IMAGES)
    for frame in read_frames(dict(list(images.items())[::step])):
        shape = scaled_shape(frame.image.shape[:2], short_side, long_side)
        batch = make_batch([frame.image], [shape], padded_shape(shape, SIZE_MULTIPLE))
        yield {"images": batch, "image_sizes": np.array([shape], np.int64)}
