"""The keys ``train.tta`` of a lazy config."""

from typing import Any

from detectron2.modeling import GeneralizedRCNN
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from mvit_det.detectron2.models.tta import DetectorWithTTA
from mvit_det.errors import InputError

MIN_SIDE = 32  # px, of the images that a backbone takes


def with_tta(cfg: DictConfig, model: GeneralizedRCNN) -> nn.Module:
    """Return the model with test-time augmentation if ``train.tta.enabled``, or else the model itself.

    The augmentations of the test data loader are removed from the config in the first case, so that images
    reach the model in their original size.

    Raises:
        InputError: see :func:`check_tta`.
    """
    check_tta(cfg, model)
    settings = cfg.train.tta
    if not settings.enabled:
        return model
    if OmegaConf.select(cfg, "dataloader.test.mapper.augmentations") is not None:
        cfg.dataloader.test.mapper.augmentations = []
    return DetectorWithTTA(model, settings.short_sides, settings.max_size, settings.flip)


def check_tta(cfg: DictConfig, model: GeneralizedRCNN) -> None:
    """Check the values of ``train.tta``, unless test-time augmentation is disabled.

    Raises:
        InputError: if a size is not a number of pixels that the model takes.
    """
    settings = cfg.train.tta
    if not settings.enabled:
        return
    sides, longest = settings.short_sides, settings.max_size
    if not isinstance(sides, ListConfig) or not sides or not all(map(_is_side, sides)):
        raise InputError(
            f"train.tta.short_sides is {sides}: expected a list of integers of at least {MIN_SIDE}"
        )
    if not _is_side(longest):
        raise InputError(f"train.tta.max_size is {longest!r}: expected an integer of at least {MIN_SIDE}")
    square = model.backbone.padding_constraints.get("square_size", 0)
    if 0 < square < longest:
        raise InputError(
            f"train.tta.max_size is {longest}: must be at most {square}, because this model pads images to "
            f"{square} x {square} px"
        )


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= MIN_SIDE
