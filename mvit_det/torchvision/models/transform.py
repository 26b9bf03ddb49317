"""Scaling and normalization of images, and scaling of predictions back to the original images."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import clip_boxes_to_image

from mvit_det.data.scaling import padded_shape, scaled_shape
from mvit_det.torchvision.models.masks import paste_masks

Targets = list[dict[str, Tensor]]
MASK_THRESHOLD = 0.5  # lowest probability of the pixels of an object


class DetectorTransform(GeneralizedRCNNTransform):
    """torchvision's transform, but with Detectron2's scaling of images at inference.

    torchvision's own scaling does not antialias, and can round a short side down to 0. Detectron2 scales with
    Pillow, which takes 8 bits per channel, so images are rounded to 8 bits first.

    Args:
        plain: torchvision's transform, whose settings this object reuses.

    Attributes:
        mask_threshold: with None, masks are probabilities, as torchvision's. Otherwise they are bool, true
            where the probability is at least this, which takes a quarter of the memory.
    """

    mask_threshold: float | None = None

    def __init__(self, plain: GeneralizedRCNNTransform) -> None:
        super().__init__(
            plain.min_size, plain.max_size, plain.image_mean, plain.image_std, plain.size_divisible
        )
        self._skip_resize = plain._skip_resize

    def forward(
        self, images: list[Tensor], targets: Targets | None = None
    ) -> tuple[ImageList, Targets | None]:
        """Return the images as one zero-padded batch and, in training, the targets at the same scale.

        Args:
            images: float (3, H, W) in 0..1, of any sizes.
            targets: as for :func:`mvit_det.torchvision.build_detector`; only for training.

        Raises:
            ValueError: for an image of another shape or type.
        """
        for image in images:
            if image.ndim != 3 or len(image) != 3 or not image.is_floating_point():
                raise ValueError(f"image {(*image.shape,)} {image.dtype}: must be float (3, H, W) in 0..1")
        if self.training:
            return super().forward(images, targets)
        scaled = []
        for image in images:
            shape = scaled_shape((image.shape[1], image.shape[2]), self.min_size[-1], self.max_size)
            scaled.append(self.normalize_pixels(scale_image(image, shape)))
        shapes = [(image.shape[-2], image.shape[-1]) for image in scaled]
        return ImageList(self.batch_images(scaled, self.size_divisible), shapes), targets

    def padded_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the size, at inference, of a batch of one image of (height, width) ``shape``, px."""
        return padded_shape(scaled_shape(shape, self.min_size[-1], self.max_size), self.size_divisible)

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Scale a training image and its boxes. Masks keep their resolution, which is more accurate."""
        masks = {} if target is None else {k: v for k, v in target.items() if k == "masks"}
        rest = None if target is None else {k: v for k, v in target.items() if k != "masks"}
        image, scaled = super().resize(image, rest)
        return image, None if scaled is None else scaled | masks

    def normalize_pixels(self, pixels: Tensor) -> Tensor:
        """Normalize (..., 3, H, W) pixels in 0..255.

        Detectron2 normalizes on this scale; on a scale of 0..1, the results would differ by rounding.
        """
        mean, std = (
            pixels.new_tensor([255 * value for value in values])[:, None, None]
            for values in (self.image_mean, self.image_std)
        )
        return (pixels - mean) / std

    def postprocess(
        self,
        result: Targets,
        image_shapes: Sequence[tuple[int, int]],
        original_image_sizes: Sequence[tuple[int, int]],
    ) -> Targets:
        """Scale predictions to the original size of each image, and remove those with an empty box.

        ``boxes`` become (N, 4) XYXY in px of the original image, and ``masks`` (N, 1, H, W) for the whole
        image, of the type that ``mask_threshold`` determines.

        Args:
            result: a prediction for each scaled image, with (N, 1, M, M) masks in the cells of their boxes.
            image_shapes: (height, width) of the scaled images, px.
            original_image_sizes: (height, width) of the original images, px.
        """
        if self.training:
            return result
        images = zip(result, image_shapes, original_image_sizes, strict=True)
        return [_to_original_size(*image, self.mask_threshold) for image in images]


def scale_image(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Scale a (3, H, W) image in 0..1 to ``shape`` with Pillow's bilinear filter; return pixels in 0..255."""
    pixels = (image.float() * 255).round().clamp(0, 255).byte().permute(1, 2, 0)  # (H, W, 3)
    pillow_image = Image.fromarray(pixels.cpu().numpy())
    scaled = np.array(pillow_image.resize(shape[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(scaled).permute(2, 0, 1).to(image)  # (3, h, w)


def _to_original_size(
    detections: dict[str, Tensor],
    scaled: tuple[int, int],
    shape: tuple[int, int],
    mask_threshold: float | None,
) -> dict[str, Tensor]:
    boxes = detections["boxes"]
    scale_y, scale_x = shape[0] / scaled[0], shape[1] / scaled[1]
    boxes = clip_boxes_to_image(boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y]), shape)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    detections = {name: values[kept] for name, values in (detections | {"boxes": boxes}).items()}
    if "masks" in detections:
        masks = paste_masks(detections["masks"][:, 0], detections["boxes"], shape, mask_threshold)
        detections["masks"] = masks[:, None]
    return detections
