"""A detector for use from Python: from image files and arrays to boxes, masks and class names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import supervision as sv
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from mvit_det.data.batches import apply_in_batches
from mvit_det.data.frame_sources import find_images, find_video, open_source_video
from mvit_det.data.frames import Frame, read_frames, report_errors
from mvit_det.engine.precision import autocast_dtype
from mvit_det.errors import ImageError, InputError
from mvit_det.nms import check_soft_nms
from mvit_det.report.detections import draw_detections
from mvit_det.report.drawing import RgbImage
from mvit_det.report.run_folder import find_checkpoint
from mvit_det.report.tracking import not_a_video, track_objects
from mvit_det.torchvision.arguments import check_integer, check_number, choose_device
from mvit_det.torchvision.data.image_arrays import ImageLike, to_array, to_arrays
from mvit_det.torchvision.engine.detector_checkpoint import load_detector
from mvit_det.torchvision.models.transform import MASK_THRESHOLD
from mvit_det.torchvision.slicing import detect_in_slices
from mvit_det.weights import local_file
from mvit_det.weights.published import DETECTOR

T = TypeVar("T")
MIN_SLICE = 32  # px
DEFAULT_OVERLAP = 0.2


class Detector:
    """A trained detector.

        >>> detector = Detector("runs/mine/best.ckpt")
        >>> detections = detector("photo.jpg")
        >>> detections.xyxy, detections.confidence, detections["class_name"]
        >>> detector.draw("photo.jpg", detections).save("drawn.png")

    The checkpoint says which backbone, head, classes and image size the detector has.

    Args:
        checkpoint: a file that ``mvit-det train``, ``mvit-det convert`` or ``tools/train_net.py`` wrote; the
            folder of a run, for its best checkpoint; a published detector of Detectron2 or its name; or a URL
            of such a file. Nothing in the file is executed.
        device: a device of PyTorch, such as ``"cuda:1"``, or "auto" for a GPU if there is one.
        precision: "float32", "bf16", "fp16" or "auto"; see
            :func:`mvit_det.engine.precision.autocast_dtype`.
        min_score: the lowest score of a detection, in 0..1.
        max_detections: the largest number of detections in an image, or in each slice; those with the highest
            scores are kept.
        soft_nms: "linear" or "gaussian" for soft-NMS (arXiv 1704.04503), or None for non-maximum suppression.
        slice_size: width and height of a slice in pixels, to find small objects in large images: an image is
            cut into overlapping slices, which are detected like images, and their detections are merged. An
            image that is not larger is detected whole. None for whole images.
        overlap: the part of a slice that the next one covers, at least 0 and less than 1; 0.2 by default.
            Objects that are smaller than the overlap are seen whole by one of the slices.

    Attributes:
        categories: category id -> name, in the order of the model's classes.
        device: the device of the model.
        model: the torchvision detection model.

    Raises:
        InputError: if the checkpoint cannot be used or does not name its classes.
        ValueError: if another argument has a value that is not valid.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        min_score: float = 0.5,
        max_detections: int = 100,
        soft_nms: str | None = None,
        slice_size: int | None = None,
        overlap: float | None = None,
    ) -> None:
        check_number("min_score", min_score, lambda value: 0 <= value <= 1, "from 0 to 1")
        check_integer("max_detections", max_detections, 1)
        if slice_size is not None:
            check_integer("slice_size", slice_size, MIN_SLICE)
        elif overlap is not None:
            raise InputError(f"overlap {overlap}: needs slice_size, the size of a slice in pixels")
        overlap = DEFAULT_OVERLAP if overlap is None else overlap
        check_number("overlap", overlap, lambda value: 0 <= value < 1, "of at least 0 and less than 1")
        check_soft_nms(soft_nms)
        self.min_score, self.slice_size, self.overlap = min_score, slice_size, overlap
        self.device = choose_device(device)
        self._autocast_dtype = autocast_dtype(precision, self.device)
        model, config = load_detector(find_checkpoint(local_file(checkpoint, DETECTOR)))
        model.roi_heads.soft_nms = soft_nms
        model.roi_heads.score_thresh = min_score
        model.roi_heads.detections_per_img = max_detections
        model.transform.mask_threshold = MASK_THRESHOLD
        self.model, self.categories = model.to(self.device), dict(config.categories)
        self._ids = np.array(list(self.categories), int)
        self._names = np.array(list(self.categories.values()), str)

    @overload
    def __call__(self, images: ImageLike, batch_size: int = ...) -> sv.Detections: ...

    @overload
    def __call__(self, images: list[Any] | tuple[Any, ...], batch_size: int = ...) -> list[sv.Detections]: ...

    def __call__(
        self, images: ImageLike | list[Any] | tuple[Any, ...], batch_size: int = 8
    ) -> sv.Detections | list[sv.Detections]:
        """Detect the objects in an image, or in each image of a list.

        An image is a path, a PIL image, a uint8 (H, W, 3) RGB or (H, W) gray array, or a (3, H, W) tensor,
        uint8 or float in 0..1. Files and PIL images are rotated by their EXIF orientation.

        Args:
            images: an image, or a list of images of any sizes.
            batch_size: the largest number of images, or of slices, in a batch. Only those that the model
                scales and pads to the same size share a batch, so that it changes the results only by
                rounding errors.

        Returns:
            for each image, ``xyxy`` (K, 4) in pixels, ``mask`` (K, H, W) bool or None, ``confidence`` (K,)
            in 0..1, ``class_id`` (K,), the keys of :attr:`categories`, and ``data["class_name"]`` (K,); the
            highest score first. With slices, ``mask`` is supervision's ``CompactMask``.

        Raises:
            ImageError: if a file cannot be read.
            TypeError: for an object of another type.
            ValueError: for an empty image, or an array or a tensor of another shape, dtype or range.
        """
        is_list = isinstance(images, list | tuple)
        arrays = to_arrays(images) if isinstance(images, list | tuple) else [to_array(images)]
        results = [detections for _, detections in self._detect(arrays, lambda image: image, batch_size)]
        return results if is_list else results[0]

    def stream(
        self,
        source: str | Path | int | Sequence[str | Path],
        batch_size: int = 8,
        on_error: Callable[[ImageError], None] | None = None,
        track: bool = False,
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Detect the objects in the images of a folder or in the frames of a video, one batch at a time.

        Image files are read in other threads while the model runs. No more than a batch of detections and a
        few images are in memory.

        Args:
            source: an image, a folder, which is searched with its subfolders, a video, the URL of an image or
                a video, or the number of a camera, 0 for the first one; or a list of images, their URLs and
                folders. Videos in folders are left out.
            batch_size: see :meth:`__call__`. With 1, the frames of a camera have their results soonest.
            on_error: function that is called for an image that cannot be read, which is then left out, and at
                the end of a video that is truncated. By default, the error is raised.
            track: whether to track the objects of a video. ``tracker_id`` of its detections is then constant
                for an object; see :func:`mvit_det.report.tracking.track_objects`.

        Returns:
            an iterator over the images or frames in their order, as :class:`mvit_det.data.frames.Frame` with
            ``path``, ``name`` and ``image``, each with its detections.

        Raises:
            InputError: if the source does not exist, contains no images or is a video that cannot be read, or
                if ``track`` is set and it is not a video.
            ImageError: for an image that cannot be read, and at the end of a video that is truncated.
        """
        if isinstance(source, int):
            source = f"camera:{source}"
        sources = [source] if isinstance(source, str | Path) else source
        if found := find_video(sources):
            video = open_source_video(found)
            predictions = self.detect_frames(report_errors(video.frames, on_error), batch_size)
            return track_objects(predictions, video.rate, self.min_score) if track else predictions
        images = find_images(sources)
        if track:
            raise not_a_video(sources)
        return self.detect_frames(read_frames(images, on_error), batch_size)

    def detect_frames(
        self, frames: Iterable[Frame], batch_size: int
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Detect the objects in images that have been read; see :meth:`stream`."""
        return self._detect(frames, lambda frame: frame.image, batch_size)

    def draw(self, image: ImageLike, detections: sv.Detections) -> Image.Image:
        """Return a copy of an image with the boxes, masks, class names and scores of its detections.

        Raises:
            TypeError: if the detections are not supervision's ``Detections``, such as a list of them.
            ValueError: if their classes are not those of this detector, or their masks have another size than
                the image.
        """
        if not isinstance(detections, sv.Detections):
            kind = type(detections).__name__
            raise TypeError(f"detections of type {kind}: must be the Detections of one image")
        return Image.fromarray(draw_detections(to_array(image), detections, self.categories))

    def _detect(
        self, items: Iterable[T], image_of: Callable[[T], RgbImage], batch_size: int
    ) -> Iterator[tuple[T, sv.Detections]]:
        """Detect the objects in the images of items, whole or in slices."""
        check_integer("batch_size", batch_size, 1)
        if self.slice_size is None:
            return self._detect_whole(items, image_of, batch_size)
        return detect_in_slices(
            lambda slices: self._detect_whole(slices, lambda part: part.pixels, batch_size),
            items,
            image_of,
            self.slice_size,
            self.overlap,
        )

    def _detect_whole(
        self, items: Iterable[T], image_of: Callable[[T], RgbImage], batch_size: int
    ) -> Iterator[tuple[T, sv.Detections]]:
        return apply_in_batches(
            lambda batch: self._detect_batch([image_of(item) for item in batch]),
            items,
            batch_size,
            lambda item: self.model.transform.padded_shape(image_of(item).shape[:2]),
        )

    @torch.inference_mode()
    def _detect_batch(self, images: Sequence[RgbImage]) -> list[sv.Detections]:
        tensors = [F.to_image(image).to(self.device) for image in images]
        tensors = [F.to_dtype(tensor, torch.float32, scale=True) for tensor in tensors]
        with torch.autocast(self.device.type, self._autocast_dtype, enabled=self._autocast_dtype is not None):
            predictions = self.model(tensors)
        return [self._to_detections(prediction) for prediction in predictions]

    def _to_detections(self, prediction: dict[str, Tensor]) -> sv.Detections:
        arrays = {name: values.cpu().numpy() for name, values in prediction.items()}
        classes = arrays["labels"] - 1
        return sv.Detections(
            xyxy=arrays["boxes"],
            mask=arrays["masks"][:, 0] if "masks" in arrays else None,
            confidence=arrays["scores"],
            class_id=self._ids[classes],
            data={"class_name": self._names[classes]},
        )
