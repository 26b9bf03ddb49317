"""The training recipes: the sizes and rates of each variant, in one table that both integrations read."""

from dataclasses import dataclass

WARMUP_STEPS = 250  # at most a tenth of the run


@dataclass(frozen=True)
class Crop:
    """A random crop of half of the training images.

    Attributes:
        short_sides: short sides to which an image is resized before it is cropped, px.
        sides: minimum and maximum of the height and the width of the crop, px.
    """

    short_sides: tuple[int, ...]
    sides: tuple[int, int]


@dataclass(frozen=True)
class Recipe:
    """How a variant is trained and tested.

    Attributes:
        lr: peak learning rate for ``batch_size`` images in an optimizer step. It scales linearly with
            the number of images.
        batch_size: number of images in an optimizer step that ``lr`` is meant for.
        epochs: number of epochs.
        short_side: short side of a test image, px.
        train_short_sides: short sides of a training image, one of which is drawn at random, px.
        crop: crop of training images before they are resized; None for no crop.
        channels: channels of the feature pyramid and of the convolutions in the heads. The linear layers
            of the box heads have four times as many.
        rpn_batch_size: number of anchors sampled from each training image.
        box_batch_size: number of regions sampled from each training image.
        pre_nms_topk: number of proposals per level before non-maximum suppression, in training and at
            test time.
        post_nms_topk: number of proposals after non-maximum suppression, in training and at test time.
    """

    lr: float
    batch_size: int
    epochs: int
    short_side: int
    train_short_sides: tuple[int, ...]
    crop: Crop | None
    channels: int
    rpn_batch_size: int
    box_batch_size: int
    pre_nms_topk: tuple[int, int]
    post_nms_topk: tuple[int, int]

    @property
    def long_side(self) -> int:
        """Limit on the long side of a test image, px."""
        return scaled_long_side(self.short_side)


RECIPES = {
    # The released 36-epoch models. Source: MViTv2, arXiv 2112.01526, section 5.2.
    "default": Recipe(
        lr=1.6e-4,
        batch_size=64,
        epochs=36,
        short_side=800,
        train_short_sides=(480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
        crop=Crop(short_sides=(400, 500, 600), sides=(384, 600)),
        channels=256,
        rpn_batch_size=256,
        box_batch_size=512,
        pre_nms_topk=(2000, 1000),
        post_nms_topk=(1000, 1000),
    ),
    # Small images and small heads, so that training from random weights on a CPU takes minutes.
    "mvitv2_nano": Recipe(
        lr=1e-3,
        batch_size=4,
        epochs=20,
        short_side=256,
        train_short_sides=(192, 224, 256, 288),
        crop=None,
        channels=64,
        rpn_batch_size=128,
        box_batch_size=128,
        pre_nms_topk=(500, 500),
        post_nms_topk=(500, 300),
    ),
}


def recipe_for(variant: str) -> Recipe:
    """Return the recipe of a variant: its own entry in :data:`RECIPES`, or else the default."""
    return RECIPES.get(variant, RECIPES["default"])


def scaled_long_side(short_side: int) -> int:
    """Return the limit on the long side for a short side, px, in the ratio 1333 to 800."""
    return round(short_side * 1333 / 800)


def warmup_steps(num_steps: int) -> int:
    """Return the number of steps in which the learning rate of a run of ``num_steps`` rises to its peak."""
    return min(WARMUP_STEPS, num_steps // 10)


def warmup_fraction(num_steps: int) -> float:
    """Return the fraction of a run of ``num_steps`` in which the learning rate rises to its peak."""
    return warmup_steps(num_steps) / num_steps
