"""What a checkpoint says of its detector, and the detector from a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from mvit_det.backbone import VARIANTS
from mvit_det.errors import InputError, unknown_name
from mvit_det.torchvision.detector import build_detector

KEY = "mvit_det"  # of the configuration in a checkpoint
PREFIX = "detector."  # of the weights in a checkpoint


@dataclass(frozen=True)
class DetectorConfig:
    """All that it takes to build a detector again.

    ``categories`` are id -> name of the data set it was trained on; label 1 is the lowest id.
    Pictures are scaled to a short side of ``short_side`` px unless the long one would exceed
    ``long_side``.
    """

    variant: str
    categories: Mapping[int, str]
    cascade: bool
    short_side: int
    long_side: int

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("variant", self.variant, VARIANTS)

    def build(self, **kwargs: Any) -> MaskRCNN:
        """Build the detector with random weights; ``kwargs`` as in :func:`build_detector`."""
        return build_detector(
            self.variant,
            1 + len(self.categories),
            self.cascade,
            min_size=self.short_side,
            max_size=self.long_side,
            **kwargs,
        )

    def category_ids(self, labels: Tensor) -> list[int]:
        """Return the data set's category ids of labels."""
        ids = list(self.categories)
        return [ids[label - 1] for label in labels.tolist()]

    def check_categories(self, categories: Mapping[int, str], source: Path, where: str) -> None:
        """Raise an InputError unless a data set has the categories that this detector knows."""
        if dict(categories) == dict(self.categories):
            return
        raise InputError(
            f"{source}: has {_described(self.categories)}, but {where} has {_described(categories)}"
        )


def _described(categories: Mapping[int, str]) -> str:
    shown = [f"{id_} {name}" for id_, name in categories.items()]
    shown = shown[:5] + ["..."] * (len(shown) > 5)
    noun = "class" if len(categories) == 1 else "classes"
    return f"{len(categories)} {noun} ({', '.join(shown)})"


def read_checkpoint(path: Path) -> tuple[DetectorConfig, dict[str, Tensor]]:
    """Return the configuration and the detector's weights; nothing in the file is executed.

    Raises:
        InputError: if the file is missing or no checkpoint of ``mvit-det train``.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        config = DetectorConfig(**content[KEY])
        weights = {key.removeprefix(PREFIX): tensor for key, tensor in content["state_dict"].items()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except InputError as error:  # a variant of another version
        raise InputError(f"{path}: {error}") from None
    except Exception:  # torch.load documents no set of errors for a file that is not its own
        raise InputError(
            f"{path}: is not a checkpoint of mvit-det train; expected a best.ckpt or a last.ckpt"
        ) from None
    return config, weights


def can_resume(path: Path) -> bool:
    """Return whether a checkpoint holds the state of the optimiser, and not weights alone."""
    return "optimizer_states" in torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def load_detector(path: Path) -> tuple[MaskRCNN, DetectorConfig]:
    """Return the detector of a checkpoint in evaluation mode, on the CPU.

    Raises:
        InputError: as :func:`read_checkpoint`.
    """
    config, weights = read_checkpoint(path)
    detector = config.build()
    try:
        detector.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"{path}: its weights do not fit a {config.variant} of this version") from None
    return detector.eval(), config
