"""Identifies what a weight file contains by the names and shapes of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mvit_det.backbone.variants import VARIANTS
from mvit_det.errors import InputError, counted
from mvit_det.heads import HEADS
from mvit_det.weights.formats import FORMATS
from mvit_det.weights.formats import mvit_det as our_format
from mvit_det.weights.formats.interface import BACKBONE, Weights
from mvit_det.weights.reading import read_config, read_file

CONFIG_KEY = "mvit_det"  # the key of a checkpoint with the classes and the image size of a detector
STATE_DICT_KEYS = ("ema", "model_state", "model", "state_dict")  # keys of a checkpoint, by priority
WRAPPER_PREFIXES = ("module.", "_orig_mod.", "detector.")  # DDP, torch.compile, our Lightning module
CLASSIFIER_PREFIXES = ("cls_token", "norm.", "head.")  # of tensors that the backbone does not have


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a weight file.

    Attributes:
        path: path of the file.
        format: a key of :data:`mvit_det.weights.formats.FORMATS`.
        kind: ``"backbone"``, ``"classifier"`` or ``"detector"``.
        weights: the tensors under our names, which :mod:`mvit_det.weights.formats.interface` describes.
        metadata: the strings and numbers in the file that are not weights. In a file that this project
            saved, ``"mvit_det"`` is the configuration passed to :func:`mvit_det.weights.save_weights`.
    """

    path: Path
    format: str
    kind: str
    weights: Weights
    metadata: dict[str, Any]

    @property
    def backbone(self) -> Weights:
        """The weights of the backbone, under the names of :class:`mvit_det.MViT`."""
        if self.kind == "detector":
            return {k.removeprefix(BACKBONE): w for k, w in self.weights.items() if k.startswith(BACKBONE)}
        return {k: w for k, w in self.weights.items() if not k.startswith(CLASSIFIER_PREFIXES)}

    @property
    def variant(self) -> str | None:
        """The key of :data:`mvit_det.VARIANTS` whose shapes the backbone has, or None."""
        return identify_variant(self.backbone)

    @property
    def backbone_keywords(self) -> dict[str, Any]:
        """The keywords that make :func:`mvit_det.build_mvit` build this backbone from its variant.

        The dict is empty, or contains ``dim_mul_in_att``.
        """
        backbone = self.backbone
        name = identify_variant(backbone)
        if name is None:
            return {}
        variant = VARIANTS[name]
        block = variant.last_block_indexes[0] + 1  # the first block of stage 2
        input_dim = _num_rows(backbone.get(f"blocks.{block}.norm1.weight"))
        dim_mul_in_att = input_dim == variant.embed_dim
        return {} if dim_mul_in_att == variant.dim_mul_in_att else {"dim_mul_in_att": dim_mul_in_att}

    @property
    def num_classes(self) -> int | None:
        """The number of classes without the background, or None for a backbone."""
        if self.kind == "classifier":
            return _num_rows(self.weights["head.weight"])
        for key, weight in self.weights.items():
            if key.startswith("roi_heads.") and key.endswith("cls_score.weight"):
                num_rows = _num_rows(weight)
                return num_rows - 1 if num_rows else None
        return None

    @property
    def categories(self) -> dict[int, str] | None:
        """Category id -> name in the order of a detector's classes, or None if the file does not name them.

        Raises:
            InputError: if the configuration in the file is damaged.
        """
        if CONFIG_KEY not in self.metadata:
            return None
        try:
            names = self.metadata[CONFIG_KEY]["categories"].items()
            return dict(sorted((int(id_), str(name)) for id_, name in names))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"{self.path}: its configuration is damaged: {error!r}") from None

    @property
    def head(self) -> str | None:
        """The key of :data:`mvit_det.heads.HEADS` whose box heads and masks a detector has, or None."""
        if self.kind != "detector":
            return None
        num_box_heads = sum(
            key.startswith("roi_heads.box_predictor.") and key.endswith(".cls_score.weight")
            for key in self.weights
        )
        has_masks = "roi_heads.mask_head.predictor.weight" in self.weights
        for name, head in HEADS.items():
            if (len(head.iou_thresholds), head.has_masks) == (num_box_heads, has_masks):
                return name
        return None

    def __str__(self) -> str:
        variant = self.variant or "an MViT of unknown variant"
        kind = self.kind if self.head is None else HEADS[self.head].title
        number = self.num_classes
        classes = "" if number is None else f", {counted(number, 'class', 'classes')}"
        return f"{variant}, {kind}{classes} ({self.format})"


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weight file, and identify what it contains.

    Raises:
        InputError: if the file cannot be read (see :func:`mvit_det.weights.reading.read_file`), or does not
            contain the weights of an MViT for images.
    """
    content = read_file(path)
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        content = {"model": content, CONFIG_KEY: read_config(path)}
    return identify_checkpoint(path, content)


def identify_checkpoint(path: Path, content: Any) -> Checkpoint:
    """Identify the contents of a weight file.

    Args:
        path: path of the file, for the result and error messages.
        content: what :func:`mvit_det.weights.reading.read_file` returned.

    Raises:
        InputError: if the file does not contain the weights of an MViT for images.
    """
    state_dict = _find_state_dict(content)
    if not state_dict:
        raise InputError(f"{path}: holds no named tensors; expected the weights of an MViT")
    weights = {strip_wrappers(key): weight for key, weight in state_dict.items()}
    weights.pop("n_averaged", None)  # an entry of torch's AveragedModel
    for name, weight_format in FORMATS.items():
        if not weight_format.recognize(weights):
            continue
        try:
            renamed = weight_format.to_our_names(weights)
        except InputError as error:
            raise InputError(f"{path}: holds {error}") from None
        checkpoint = Checkpoint(path, name, _kind(renamed), renamed, _find_metadata(content))
        if our_format.recognize(checkpoint.backbone):
            return checkpoint
        break
    raise InputError(
        f"{path}: holds the weights of another network, such as {min(state_dict)!r:.80}; expected those of "
        "an MViT, such as 'blocks.0.attn.pool_k.weight'"
    )


def identify_variant(backbone: Mapping[str, Tensor]) -> str | None:
    """Return the key of :data:`mvit_det.VARIANTS` that has the shapes of a backbone's weights, or None."""
    depth = 0
    while f"blocks.{depth}.norm1.weight" in backbone:
        depth += 1
    is_mvitv1 = "blocks.0.attn.rel_pos_h" not in backbone
    for name, variant in VARIANTS.items():
        if sum(variant.depths) != depth or variant.use_rel_pos == is_mvitv1:
            continue
        # Each stage doubles the width, in its first block at the latest.
        first_blocks = [last + 1 for last in variant.last_block_indexes[:3]]  # of stages 2 to 4
        widths = [_num_rows(backbone.get(f"blocks.{block}.attn.proj.weight")) for block in first_blocks]
        head_dim = _num_rows(backbone.get("blocks.0.attn.pool_k.weight"))
        if (
            widths == [variant.embed_dim * factor for factor in (2, 4, 8)]
            and head_dim == variant.embed_dim // variant.num_heads
        ):
            return name
    return None


def strip_wrappers(key: str) -> str:
    """Remove the prefixes that DDP, torch.compile and our Lightning module put before a tensor's name."""
    while key.startswith(WRAPPER_PREFIXES):
        key = key.partition(".")[2]
    return key.replace("._orig_mod.", ".")


def _kind(weights: Mapping[str, Tensor]) -> str:
    if any(key.startswith(BACKBONE) for key in weights):
        return "detector"
    return "classifier" if "head.weight" in weights else "backbone"


def _num_rows(weight: Tensor | None) -> int | None:
    return None if weight is None or weight.dim() == 0 else weight.shape[0]


def _find_state_dict(content: Any) -> Weights:
    """Return the tensors of a checkpoint or a state dict by name; empty if there are none."""
    if not isinstance(content, Mapping):
        return {}
    for candidate in (*(content.get(key) for key in STATE_DICT_KEYS), content):
        if isinstance(candidate, Mapping):
            weights = {k: w for k, w in candidate.items() if isinstance(k, str) and isinstance(w, Tensor)}
            if weights:
                return weights
    return {}


def _find_metadata(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strings and numbers at the top level of a checkpoint, and our configuration if any."""
    metadata: dict[str, Any] = {
        key: value
        for key, value in content.items()
        if isinstance(value, float | str) or (isinstance(value, int) and abs(value) < 2**63)
    }
    metadata.pop(CONFIG_KEY, None)
    if isinstance(content.get(CONFIG_KEY), Mapping):
        metadata[CONFIG_KEY] = dict(content[CONFIG_KEY])
    return metadata
