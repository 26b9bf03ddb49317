"""From pictures of any size to the network's input, and back to them with what it found."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import clip_boxes_to_image

from mvit_det.torchvision.models.masks import paste_masks

Targets = list[dict[str, Tensor]]


class DetectorTransform(GeneralizedRCNNTransform):
    """torchvision's transform, ``plain``, but at inference pictures are scaled as Detectron2 does it.

    torchvision's own scaling skips pixels of a large picture, and rounds a thin side down to nothing.
    Pillow's takes 8 bits a channel: an image is taken for one that has them, whatever its dtype.
    """

    def __init__(self, plain: GeneralizedRCNNTransform) -> None:
        super().__init__(
            plain.min_size, plain.max_size, plain.image_mean, plain.image_std, plain.size_divisible
        )
        self._skip_resize = plain._skip_resize

    def forward(
        self, images: list[Tensor], targets: Targets | None = None
    ) -> tuple[ImageList, Targets | None]:
        """Return the images as one zero-padded batch, and the targets at its scale in training.

        Args:
            images: float (3, H, W) in 0..1, of any sizes.
            targets: as :func:`mvit_det.torchvision.build_detector` says; only for training.

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
            scaled.append(self._normalised(scale_image(image, shape)))
        shapes = [(image.shape[-2], image.shape[-1]) for image in scaled]
        return ImageList(self.batch_images(scaled, self.size_divisible), shapes), targets

    def _normalised(self, pixels: Tensor) -> Tensor:
        mean, std = (  # on Detectron2's scale, so that not a bit differs
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
        """Return predictions at the pictures' own sizes, without those that have no area there.

        ``boxes`` become (N, 4) XYXY in px, and ``masks`` (N, 1, H, W) probabilities of whole pictures.

        Args:
            result: a prediction for each picture at the network's size, masks in cells of their boxes.
            image_shapes: (height, width) of the scaled pictures, px.
            original_image_sizes: (height, width) of the pictures, px.
        """
        if self.training:
            return result
        pictures = zip(result, image_shapes, original_image_sizes, strict=True)
        return [_at_own_size(*picture) for picture in pictures]


def scaled_shape(shape: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """Return (height, width) in px with a short side of ``short_side``, or a long one of ``long_side``.

    It is the smaller of the two. Halves are rounded up, and a thin picture keeps a pixel.
    """
    scale = short_side / min(shape)
    height, width = shape[0] * scale, shape[1] * scale
    if max(height, width) > long_side:
        scale = long_side / max(height, width)
        height, width = height * scale, width * scale
    return max(1, int(height + 0.5)), max(1, int(width + 0.5))


def scale_image(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a (3, H, W) image of 0..1 as pixels of 0..255 at another size, by Pillow's bilinear filter."""
    pixels = (image.float() * 255).round().clamp(0, 255).byte().permute(1, 2, 0)  # (H, W, 3)
    picture = Image.fromarray(pixels.cpu().numpy())
    scaled = np.array(picture.resize(shape[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(scaled).permute(2, 0, 1).to(image)  # (3, h, w)


def _at_own_size(
    found: dict[str, Tensor], scaled: tuple[int, int], shape: tuple[int, int]
) -> dict[str, Tensor]:
    boxes = found["boxes"]
    scale_y, scale_x = shape[0] / scaled[0], shape[1] / scaled[1]
    boxes = clip_boxes_to_image(boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y]), shape)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    found = {name: values[kept] for name, values in (found | {"boxes": boxes}).items()}
    masks = paste_masks(found["masks"][:, 0], found["boxes"], shape)
    return found | {"masks": masks[:, None]}
