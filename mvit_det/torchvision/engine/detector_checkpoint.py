"""What a checkpoint says of its detector, and the detector from a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.models.detection import MaskRCNN, MaskRCNN_ResNet50_FPN_Weights

from mvit_det.backbone.variants import VARIANTS
from mvit_det.errors import InputError, unknown_name
from mvit_det.torchvision.models.detector import build_detector
from mvit_det.weights import Checkpoint, load_all_weights, read_checkpoint

KEY = "mvit_det"  # of the configuration in a checkpoint
SHORT_SIDE, SHORT_SIDE_OF = 800, {"mvitv2_nano": 256}  # px, at test time
LONG_OVER_SHORT = 1333 / 800
MAX_SIDE = 10_000  # px
COCO_CATEGORIES = {
    category_id: name
    for category_id, name in enumerate(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
    if category_id > 0 and name != "N/A"
}


@dataclass(frozen=True)
class DetectorConfig:
    """All that it takes to build a detector again.

    ``categories`` are id -> name of the data set it was trained on; label 1 is the lowest id.
    Pictures are scaled to a short side of ``short_side`` px unless the long one would exceed
    ``long_side``. ``backbone`` are keywords of :func:`mvit_det.build_mvit` that the variant's own are not.
    """

    variant: str
    categories: Mapping[int, str]
    cascade: bool
    short_side: int
    long_side: int
    backbone: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("variant", self.variant, VARIANTS)
        object.__setattr__(self, "categories", dict(sorted(self.categories.items())))

    def build(self, *, backbone: Mapping[str, Any] | None = None, **kwargs: Any) -> MaskRCNN:
        """Build the detector with random weights; the keywords are those of :func:`build_detector`."""
        return build_detector(
            self.variant,
            1 + len(self.categories),
            self.cascade,
            min_size=self.short_side,
            max_size=self.long_side,
            backbone={**self.backbone, **(backbone or {})},
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


def config_of(checkpoint: Checkpoint, categories: Mapping[int, str] | None = None) -> DetectorConfig:
    """Return what it takes to build a checkpoint's detector.

    Detectron2's files do not say at which size they were tested: it is taken for that of the configs.

    Args:
        checkpoint: a whole detector.
        categories: id -> name, where the file does not say them and they are not COCO's.

    Raises:
        InputError: if it is no detector, or its classes have no names.
    """
    path = checkpoint.path
    if checkpoint.head is None or checkpoint.num_classes is None:
        raise InputError(f"{path}: holds {checkpoint}; expected a whole detector")
    if checkpoint.variant is None:
        raise InputError(f"{path}: holds {checkpoint}; its blocks fit none of {', '.join(VARIANTS)}")
    short_side = SHORT_SIDE_OF.get(checkpoint.variant, SHORT_SIDE)
    long_side = round(short_side * LONG_OVER_SHORT)
    if KEY in checkpoint.metadata:
        config = checkpoint.metadata[KEY]
        try:
            categories = {int(category_id): str(name) for category_id, name in config["categories"].items()}
            short_side, long_side = config["short_side"], config["long_side"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: its configuration is damaged: {error!r}") from None
        for side in (short_side, long_side):
            if not isinstance(side, int) or not 32 <= side <= MAX_SIDE:
                raise InputError(f"{path}: pictures of {side} px: expected 32 to {MAX_SIDE}")
    if categories is None and checkpoint.num_classes == len(COCO_CATEGORIES):
        categories = COCO_CATEGORIES
    if categories is None or len(categories) != checkpoint.num_classes:
        found = f"{len(categories)} are named" if categories else "does not name them"
        raise InputError(
            f"{path}: was trained on {checkpoint.num_classes} classes and {found}; `mvit-det convert --json` "
            "with the COCO-format JSON it was trained on names them"
        )
    return DetectorConfig(
        variant=checkpoint.variant,
        categories=categories,
        cascade=checkpoint.head == "cascade_mask_rcnn",
        short_side=short_side,
        long_side=long_side,
        backbone=checkpoint.backbone_keywords,
    )


def load_detector(path: Path) -> tuple[MaskRCNN, DetectorConfig]:
    """Return a whole detector in evaluation mode, on the CPU; nothing in the file is executed.

    The file may be a checkpoint of ``mvit-det train``, one that ``mvit-det convert`` wrote, or a detector
    of Detectron2 trained on COCO's 80 classes.

    Raises:
        InputError: if the file cannot be used, or does not say what its classes are.
    """
    checkpoint = read_checkpoint(path)
    config = config_of(checkpoint)
    detector = config.build()
    load_all_weights(detector, checkpoint)
    return detector.eval(), config
