"""A detector for use from Python: from image files and arrays to boxes, masks and class names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import supervision as sv
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from mvit_det.data.batches import apply_in_batches
from mvit_det.data.frame_sources import find_images, find_video, open_source_video
from mvit_det.data.frames import Frame, read_frames
from mvit_det.engine.precision import autocast_dtype
from mvit_det.errors import ImageError
from mvit_det.nms import check_soft_nms
from mvit_det.report.detections import draw_detections
from mvit_det.report.drawing import RgbImage
from mvit_det.report.run_folder import find_checkpoint
from mvit_det.torchvision.data.image_arrays import ImageLike, to_array
from mvit_det.torchvision.engine.detector_checkpoint import load_detector
from mvit_det.torchvision.models.transform import MASK_THRESHOLD, scaled_shape
from mvit_det.weights import local_file


class Detector:
    """A trained detector.

        >>> detector = Detector("runs/mine/best.ckpt")
        >>> detections = detector("photo.jpg")
        >>> detections.xyxy, detections.confidence, detections["class_name"]
        >>> detector.draw("photo.jpg", detections).save("drawn.png")

    The checkpoint says which backbone, head, classes and image size the detector has.

    Args:
        checkpoint: a file that ``mvit-det train``, ``mvit-det convert`` or ``tools/train_net.py`` wrote; the
            folder of a run, for its best checkpoint; a published detector of Detectron2; or a URL of such a
            file. Nothing in the file is executed.
        device: a device of PyTorch, such as ``"cuda:1"``, or "auto" for a GPU if there is one.
        precision: "float32", "bf16", "fp16" or "auto"; see
            :func:`mvit_det.engine.precision.autocast_dtype`.
        min_score: the lowest score of a detection, in 0..1.
        max_detections: the largest number of detections in an image; those with the highest scores are kept.
        soft_nms: "linear" or "gaussian" for soft-NMS (arXiv 1704.04503), or None for non-maximum suppression.

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
    ) -> None:
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score {min_score:g}: must be from 0 to 1")
        if max_detections < 1:
            raise ValueError(f"max_detections {max_detections}: must be at least 1")
        check_soft_nms(soft_nms)
        self.device = _choose_device(device)
        self._autocast_dtype = autocast_dtype(precision, self.device)
        model, config = load_detector(find_checkpoint(local_file(checkpoint)))
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
            batch_size: the largest number of images in a batch. Only images that the model scales and pads to
                the same size share a batch, so that it changes the results only by rounding errors.

        Returns:
            for each image, ``xyxy`` (K, 4) in pixels, ``mask`` (K, H, W) bool or None, ``confidence`` (K,)
            in 0..1, ``class_id`` (K,), the keys of :attr:`categories`, and ``data["class_name"]`` (K,); the
            highest score first.

        Raises:
            ImageError: if a file cannot be read.
            TypeError: for an object of another type.
            ValueError: for an empty image, or an array or a tensor of another shape, dtype or range.
        """
        if isinstance(images, list | tuple):
            arrays = map(to_array, images)
            detected = apply_in_batches(self._detect_batch, arrays, batch_size, self._padded_shape)
            return [detections for _, detections in detected]
        return self._detect_batch([to_array(images)])[0]

    def stream(
        self,
        source: str | Path | int | Sequence[str | Path],
        batch_size: int = 8,
        on_error: Callable[[ImageError], None] | None = None,
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Detect the objects in the images of a folder or in the frames of a video, one batch at a time.

        Image files are read in other threads while the model runs. No more than a batch of detections and a
        few images are in memory.

        Args:
            source: an image, a folder, which is searched with its subfolders, a video, the URL of an image or
                a video, or the number of a camera, 0 for the first one; or a list of images, their URLs and
                folders. Videos in folders are left out.
            batch_size: see :meth:`__call__`. With 1, the frames of a camera have their results soonest.
            on_error: function that is called for an image that cannot be read, which is then left out. By
                default, the error is raised.

        Returns:
            an iterator over the images or frames in their order, as :class:`mvit_det.data.frames.Frame` with
            ``path``, ``name`` and ``image``, each with its detections.

        Raises:
            InputError: if the source does not exist, contains no images, or is a video that cannot be read.
            ImageError: for an image that cannot be read.
        """
        if isinstance(source, int):
            source = f"camera:{source}"
        sources = [source] if isinstance(source, str | Path) else source
        video = find_video(sources)
        frames = open_source_video(video).frames if video else read_frames(find_images(sources), on_error)
        return self.detect_frames(frames, batch_size)

    def detect_frames(
        self, frames: Iterable[Frame], batch_size: int
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Detect the objects in images that have been read; see :meth:`stream`."""
        return apply_in_batches(
            lambda batch: self._detect_batch([frame.image for frame in batch]),
            frames,
            batch_size,
            lambda frame: self._padded_shape(frame.image),
        )

    def draw(self, image: ImageLike, detections: sv.Detections) -> Image.Image:
        """Return a copy of an image with the boxes, masks, class names and scores of detections."""
        return Image.fromarray(draw_detections(to_array(image), detections, self.categories))

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

    def _padded_shape(self, image: RgbImage) -> tuple[int, int]:
        """Return the height and width to which the model pads an image, in multiples of size_divisible."""
        transform = self.model.transform
        shape = scaled_shape((image.shape[0], image.shape[1]), transform.min_size[-1], transform.max_size)
        height, width = (-(-side // transform.size_divisible) for side in shape)
        return height, width


def _choose_device(device: str | torch.device) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device {device!r}: must be auto, cpu, cuda or cuda:N") from None
    if chosen.type == "cuda" and not has_gpu:
        raise ValueError(f"device {device!r}: PyTorch finds no GPU")
    return chosen
