"""The training recipes: the sizes and rates of each variant, in one table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a variant is trained and tested.

    Attributes:
        lr: peak learning rate for ``batch_size`` images in an optimizer step; it scales linearly.
        batch_size: number of images that ``lr`` is for.
        short_side: short side of a test image, px.
        channels: channels of the feature pyramid and of the convolutions in the heads. The linear layers
            of the box heads have four times as many.
        rpn_batch_size: number of anchors sampled from each training image.
        box_batch_size: number of regions sampled from each training image.
        pre_nms_topk: number of proposals per level before non-maximum suppression, in training and at
            test time.
        post_nms_topk: number of proposals after it, in training and at test time.
    """

    lr: float
    batch_size: int
    short_side: int
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
        short_side=800,
        channels=256,
        rpn_batch_size=256,
        box_batch_size=512,
        pre_nms_topk=(2000, 1000),
        post_nms_topk=(1000, 1000),
    ),
    # Ours: small images and small heads, so that training from random weights on a CPU takes minutes.
    "mvitv2_nano": Recipe(
        lr=1e-3,
        batch_size=4,
        short_side=256,
        channels=64,
        rpn_batch_size=256,
        box_batch_size=128,
        pre_nms_topk=(500, 500),
        post_nms_topk=(500, 300),
    ),
}


def recipe_for(variant: str) -> Recipe:
    """Return the recipe of a variant: its own entry in :data:`RECIPES`, or else the default."""
    return RECIPES.get(variant, RECIPES["default"])


def scaled_long_side(short_side: int) -> int:
    """Return the limit on the long side that goes with a short side, px: 1333 for 800, in proportion."""
    return round(short_side * 1333 / 800)
