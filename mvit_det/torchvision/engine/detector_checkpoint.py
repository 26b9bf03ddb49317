"""The configuration of a detector in its checkpoint, and the loading of detectors from checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.models.detection import FasterRCNN, MaskRCNN_ResNet50_FPN_Weights

from mvit_det.backbone.variants import VARIANTS
from mvit_det.data.coco.categories import match_categories, printable_name
from mvit_det.data.sources import MAX_NAME_LENGTH
from mvit_det.errors import InputError, counted, printable, unknown_name
from mvit_det.heads import HEADS
from mvit_det.recipes import recipe_for
from mvit_det.torchvision.models.detector import build_detector
from mvit_det.weights import Checkpoint, load_all_weights, read_checkpoint
from mvit_det.weights.checkpoint import CONFIG_KEY

MIN_SIDE, MAX_SIDE = 32, 10_000  # px
VITDET_KEY = "backbone.fpn_lateral2.norm.weight"  # the feature pyramids of the other detectors have no norms
COCO_CATEGORIES = {
    category_id: name
    for category_id, name in enumerate(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
    if category_id > 0 and name != "N/A"
}


@dataclass(frozen=True)
class DetectorConfig:
    """Everything that is needed to rebuild a detector.

    Attributes:
        variant: name in :data:`mvit_det.VARIANTS`.
        categories: id -> name in the data set, in the order of the labels 1, 2, ... For the data set of the
            training, this is the order of the ids.
        head: name in :data:`mvit_det.heads.HEADS`.
        short_side: short side that images are scaled to, px.
        long_side: limit on the long side of scaled images, px.
        backbone: keywords of :func:`mvit_det.build_mvit` whose values differ from those of the variant.
    """

    variant: str
    categories: Mapping[int, str]
    head: str
    short_side: int
    long_side: int
    backbone: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("variant", self.variant, VARIANTS)
        if self.head not in HEADS:
            raise unknown_name("head", self.head, HEADS)

    def build(self, *, backbone: Mapping[str, Any] | None = None, **kwargs: Any) -> FasterRCNN:
        """Build the detector with random weights. The keywords are those of :func:`build_detector`."""
        return build_detector(
            self.variant,
            1 + len(self.categories),
            self.head,
            min_size=self.short_side,
            max_size=self.long_side,
            backbone={**self.backbone, **(backbone or {})},
            **kwargs,
        )

    def category_ids(self, labels: Tensor) -> list[int]:
        """Return the category id of each label."""
        ids = list(self.categories)
        return [ids[label - 1] for label in labels.tolist()]

    def with_ids_of(self, categories: Mapping[int, str], source: Path, dataset: Path) -> "DetectorConfig":
        """Return this configuration with the category ids of another data set.

        Args:
            categories: id -> name in the data set.
            source: the file that this configuration comes from.
            dataset: the annotations of the data set.

        Raises:
            InputError: if the categories differ by more than their ids. The message names both files and
                their categories.
        """
        ids = match_categories(self.categories, categories)
        if ids is None:
            raise self._categories_error(categories, source, dataset)
        return replace(self, categories={ids[id_]: name for id_, name in self.categories.items()})

    def check_categories(self, categories: Mapping[int, str], source: Path, dataset: Path) -> None:
        """Check that a data set has the categories of this detector.

        Args:
            categories: id -> name in the data set.
            source: the file that this configuration comes from.
            dataset: the annotations of the data set.

        Raises:
            InputError: if the categories differ. The message names both files and their categories.
        """
        if dict(categories) != dict(self.categories):
            raise self._categories_error(categories, source, dataset)

    def _categories_error(self, categories: Mapping[int, str], source: Path, dataset: Path) -> InputError:
        return InputError(
            f"{source}: has {_describe(self.categories)}, but {dataset} has {_describe(categories)}"
        )


def _describe(categories: Mapping[int, str]) -> str:
    shown = [f"{id_} {printable(name, MAX_NAME_LENGTH)}" for id_, name in categories.items()]
    shown = shown[:5] + ["..."] * (len(shown) > 5)
    return f"{counted(len(categories), 'class', 'classes')} ({', '.join(shown)})"


def config_of(checkpoint: Checkpoint, categories: Mapping[int, str] | None = None) -> DetectorConfig:
    """Return the configuration of a checkpoint's detector.

    The variant and the head are identified from the weights. The category names and,
    if it states one, the image size come from the configuration in the file. A file without a configuration,
    such as a published one, has the image size of the variant's recipe, and COCO's categories if it has 80
    classes.

    Args:
        checkpoint: a whole detector.
        categories: id -> name, for a file without a configuration.

    Raises:
        InputError: if the checkpoint holds no detector of a known variant and head, if its configuration is
            damaged, or if its classes have no names.
    """
    path = checkpoint.path
    if checkpoint.kind != "detector" or checkpoint.num_classes is None:
        raise InputError(f"{path}: holds {checkpoint}; expected a whole detector")
    if checkpoint.variant is None:
        raise InputError(f"{path}: holds {checkpoint}; its blocks match none of {', '.join(VARIANTS)}")
    if checkpoint.head is None:
        raise InputError(f"{path}: holds {checkpoint}; its head is none of {', '.join(HEADS)}")
    recipe = recipe_for(checkpoint.variant)
    short_side, long_side = recipe.short_side, recipe.long_side
    if CONFIG_KEY in checkpoint.metadata:
        categories = {id_: printable_name(name) for id_, name in (checkpoint.categories or {}).items()}
        config = checkpoint.metadata[CONFIG_KEY]
        short_side = config.get("short_side", short_side)
        long_side = config.get("long_side", long_side)
        for side in (short_side, long_side):
            if not isinstance(side, int) or not MIN_SIDE <= side <= MAX_SIDE:
                raise InputError(f"{path}: image size of {side} px: expected {MIN_SIDE} to {MAX_SIDE}")
    if categories is None and checkpoint.num_classes == len(COCO_CATEGORIES):
        categories = COCO_CATEGORIES
    if categories is None or len(categories) != checkpoint.num_classes:
        names = f"names {len(categories)}" if categories else "does not name them"
        raise InputError(
            f"{path}: was trained on {counted(checkpoint.num_classes, 'class', 'classes')} but {names}; "
            "to name them, convert it (`mvit-det convert`) with the COCO-format JSON file that it was "
            "trained on"
        )
    return DetectorConfig(
        variant=checkpoint.variant,
        categories=dict(sorted(categories.items())),
        head=checkpoint.head,
        short_side=short_side,
        long_side=long_side,
        backbone=checkpoint.backbone_keywords,
    )


def load_detector(path: Path) -> tuple[FasterRCNN, DetectorConfig]:
    """Return a whole detector in evaluation mode, on the CPU, and its configuration.

    The file may be a checkpoint of ``mvit-det train`` or ``tools/train_net.py``, a file that
    ``mvit-det convert`` wrote, or a detector of Detectron2 trained on the 80 classes of COCO. Nothing in the
    file is executed.

    Raises:
        InputError: if the file cannot be used, or does not name its classes.
    """
    checkpoint = read_checkpoint(path)
    if VITDET_KEY in checkpoint.weights:
        raise InputError(
            f"{path}: has the pyramid and the heads of ViTDet's recipe, with which a detector works only in "
            "Detectron2"
        )
    config = config_of(checkpoint)
    detector = config.build()
    load_all_weights(detector, checkpoint)
    return detector.eval(), config
