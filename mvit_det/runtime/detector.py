"""An exported detector: from images to boxes, masks and class names."""

from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.batches import apply_in_batches
from mvit_det.data.pixels import ImageSource, convert_images, to_pixels
from mvit_det.data.scaling import padded_shape, scaled_shape
from mvit_det.errors import InputError, unknown_name
from mvit_det.runtime.batch import make_batch
from mvit_det.runtime.description import is_number, read_description
from mvit_det.runtime.detections import Detections
from mvit_det.runtime.masks import paste_masks
from mvit_det.runtime.sessions import Session, open_session

DEVICES = ("auto", "cpu", "cuda")
MIN_SCORE = 0.5


class Detector:
    """An exported detector, which gives the detections of :class:`mvit_det.Detector` without PyTorch.

        >>> detector = Detector("exports/mine")
        >>> detections = detector("photo.jpg")
        >>> detections.xyxy, detections.confidence, detections["class_name"]

    Args:
        folder: a folder that ``mvit-det export`` wrote.
        min_score: detections have scores above this. By default 0.5, or the threshold of the export if it is
            higher.
        num_threads: number of threads of ONNX Runtime or OpenVINO; by default, one for each core.
        device: "cpu", "cuda" for ONNX Runtime on a GPU, which needs the package onnxruntime-gpu, or "auto"
            for a GPU if ONNX Runtime can use one.
        session: a model that has been opened, in place of the one in the folder.

    Attributes:
        categories: category id -> name, in the order of the model's classes.
        description: what the export says about itself; see
            :class:`mvit_det.runtime.description.Description`.

    Raises:
        InputError: if the export cannot be used, or if another argument is not valid.
        DependencyError: if the package that runs the model is missing or too old.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        min_score: float | None = None,
        num_threads: int | None = None,
        device: str = "auto",
        session: Session | None = None,
    ) -> None:
        if device not in DEVICES:
            raise unknown_name("device", device, DEVICES)
        if num_threads is not None and (not isinstance(num_threads, int) or num_threads < 1):
            raise InputError(f"num_threads {num_threads!r}: must be an integer of at least 1")
        self.description = read_description(Path(folder))
        lowest = self.description.min_score
        self.min_score = max(MIN_SCORE, lowest) if min_score is None else min_score
        if not is_number(self.min_score) or not lowest <= self.min_score <= 1:
            raise InputError(
                f"min_score {min_score!r}: must be a number from {lowest}, the threshold of the export, to 1"
            )
        self.categories = self.description.categories
        self._ids = np.array(list(self.categories), np.int64)
        self._names = np.array(list(self.categories.values()), str)
        self._session = session or open_session(Path(folder), self.description, device, num_threads)

    @overload
    def __call__(self, images: ImageSource, batch_size: int = ...) -> Detections: ...

    @overload
    def __call__(self, images: list[Any] | tuple[Any, ...], batch_size: int = ...) -> list[Detections]: ...

    def __call__(
        self, images: ImageSource | list[Any] | tuple[Any, ...], batch_size: int = 8
    ) -> Detections | list[Detections]:
        """Detect the objects in an image, or in each image of a list.

        An image is a path, a PIL image, or a uint8 (H, W, 3) RGB or (H, W) gray array. Files and PIL images
        are rotated by their EXIF orientation.

        Args:
            images: an image, or a list of images of any sizes.
            batch_size: the largest number of images in a batch. Only those that are scaled and padded to the
                same size share a batch.

        Raises:
            ImageError: if a file cannot be read.
            InputError: if an image is scaled to a larger size than the model takes, or ``batch_size`` is not
                valid.
            TypeError: for an object of another type.
            ValueError: for an empty image, or an array of another shape or dtype.
        """
        if not isinstance(images, list | tuple):
            return self._detect([self._read(images)], batch_size)[0]
        return self._detect(convert_images(self._read, images), batch_size)

    def _detect(self, images: Iterable[NDArray[np.uint8]], batch_size: int) -> list[Detections]:
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise InputError(f"batch_size {batch_size!r}: must be an integer of at least 1")
        batches = apply_in_batches(self._detect_batch, images, batch_size, self._padded_shape)
        return [detections for _, detections in batches]

    def _read(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return the pixels of an image, and check that the model takes an image of its size."""
        pixels = to_pixels(image)
        (old_height, old_width), (height, width) = pixels.shape[:2], self._padded_shape(pixels)
        if max(height, width) > self.description.max_side:
            raise InputError(
                f"image of {old_width} x {old_height} px: is scaled and padded to {width} x {height} px; "
                f"the exported model takes at most {self.description.max_side} px"
            )
        return pixels

    def _scaled_shape(self, image: NDArray[np.uint8]) -> tuple[int, int]:
        return scaled_shape(image.shape[:2], self.description.short_side, self.description.long_side)

    def _padded_shape(self, image: NDArray[np.uint8]) -> tuple[int, int]:
        return padded_shape(self._scaled_shape(image), self.description.size_multiple)

    def _detect_batch(self, images: list[NDArray[np.uint8]]) -> list[Detections]:
        shapes = [self._scaled_shape(image) for image in images]
        batch = make_batch(images, shapes, self._padded_shape(images[0]))
        outputs = self._session.run(batch, np.array(shapes, np.int64))
        return [
            self._to_detections({name: values[index] for name, values in outputs.items()}, shape, image.shape)
            for index, (image, shape) in enumerate(zip(images, shapes, strict=True))
        ]

    def _to_detections(
        self, outputs: Mapping[str, NDArray[Any]], scaled: tuple[int, int], shape: tuple[int, ...]
    ) -> Detections:
        """Scale the model's outputs to an image of (H, W, 3) ``shape``, and remove those with empty boxes."""
        height, width = shape[:2]
        scale_y, scale_x = height / scaled[0], width / scaled[1]
        boxes = outputs["boxes"] * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1) & (outputs["scores"] > self.min_score)
        kept[outputs["num_detections"] :] = False
        labels, masks = outputs["labels"][kept], None
        if labels.max(initial=0) >= len(self._ids):
            raise InputError(
                f"the exported model detects a class {labels.max()}, but its detector.json has the classes "
                f"0 to {len(self._ids) - 1}; export the detector again"
            )
        if self.description.has_masks:
            threshold = self.description.mask_threshold
            masks = paste_masks(outputs["masks"][kept], boxes[kept], (height, width), threshold)
        return Detections(
            xyxy=boxes[kept],
            mask=masks,
            confidence=outputs["scores"][kept],
            class_id=self._ids[labels],
            data={"class_name": self._names[labels]},
        )
