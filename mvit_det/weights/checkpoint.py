"""What a file of weights is, told by its keys, and its weights under our names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mvit_det.backbone.variants import VARIANTS
from mvit_det.errors import InputError
from mvit_det.heads import HEADS
from mvit_det.weights.formats.detectors import BACKBONE, Weights, to_detectron2
from mvit_det.weights.formats.publishers import from_authors, from_timm, is_video
from mvit_det.weights.reading.files import read_config, read_file

PLACES = ("ema", "model_state", "model", "state_dict")  # of weights in a checkpoint; the first one counts
WRAPPERS = ("module.", "_orig_mod.", "detector.")  # of DDP, of a compiled model, of a Lightning checkpoint
OF_CLASSIFIERS = ("cls_token", "norm.", "head.")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, read and understood.

    Attributes:
        path: the file.
        format: whose names it had.
        kind: ``"backbone"``, ``"classifier"`` or ``"detector"``.
        weights: under our names, which are Detectron2's: a detector's backbone stands under
            ``backbone.bottom_up.``; a classifier's names are those of
            :class:`mvit_det.MViTClassifier`.
        metadata: what else the file says: of its training, and ``"mvit_det"``, our configuration.
    """

    path: Path
    format: str
    kind: str
    weights: Weights
    metadata: dict[str, Any]

    @property
    def backbone(self) -> Weights:
        """The weights of the backbone alone, under the names of :class:`mvit_det.MViT`."""
        if self.kind == "detector":
            return {k.removeprefix(BACKBONE): w for k, w in self.weights.items() if k.startswith(BACKBONE)}
        return {k: w for k, w in self.weights.items() if not k.startswith(OF_CLASSIFIERS)}

    @property
    def variant(self) -> str | None:
        """The name of the variant, None if it is none of them."""
        return variant_of(self.backbone)

    @property
    def backbone_keywords(self) -> dict[str, Any]:
        """What :func:`mvit_det.build_mvit` needs to know besides the variant."""
        return keywords_of(self.backbone)

    @property
    def num_classes(self) -> int | None:
        """The classes of a classifier or of box heads, without the background."""
        if self.kind == "classifier":
            return _length(self.weights["head.weight"])
        for key, weight in self.weights.items():
            if key.startswith("roi_heads.") and key.endswith("cls_score.weight"):
                rows = _length(weight)
                return rows - 1 if rows else None
        return None

    @property
    def head(self) -> str | None:
        """The name of the detection head in :data:`mvit_det.heads.HEADS`, None if it is no detector."""
        if self.kind != "detector" or "roi_heads.mask_head.predictor.weight" not in self.weights:
            return None
        num_box_heads = 1 + any(key.startswith("roi_heads.box_head.1.") for key in self.weights)
        return next(name for name, head in HEADS.items() if head.is_cascade == (num_box_heads > 1))

    def __str__(self) -> str:
        kind = self.kind
        if self.head is not None:
            kind = HEADS[self.head].title
        number = self.num_classes
        classes = "" if number is None else f", {number:,} class{'es' * (number != 1)}"
        return f"{self.variant or 'an MViT of no known variant'}, {kind}{classes} ({self.format})"


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file and give its weights our names.

    Raises:
        InputError: as :func:`mvit_det.weights.reading.files.read_file`, or if the file is of another network.
    """
    content = read_file(path)
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        content = {"model": content, "mvit_det": read_config(path)}
    return identify_checkpoint(path, content)


def identify_checkpoint(path: Path, content: Any) -> Checkpoint:
    """:func:`read_checkpoint` for what has been read from a file.

    Raises:
        InputError: if it is of another network.
    """
    found, metadata = _find_weights(content)
    if not found:
        raise InputError(f"{path}: holds no tensors by names; expected the weights of an MViT")
    weights = {unwrapped(key): weight for key, weight in found.items()}
    weights.pop("n_averaged", None)
    if is_video(weights):
        raise InputError(f"{path}: holds the weights of a network for videos; expected one for pictures")
    if any(key.startswith("stages.0.blocks.0.attn.") for key in weights):
        origin, weights = "timm", from_timm(weights)
    elif "head.projection.weight" in weights:
        is_slowfast = any(weight.dim() == 5 for weight in weights.values())
        origin, weights = "SlowFast" if is_slowfast else "the MViTv2 repository", from_authors(weights)
    elif any(key.startswith("rpn.head.") for key in weights):
        try:
            origin, weights = "mvit_det, torchvision", to_detectron2(weights)
        except InputError as error:
            raise InputError(f"{path}: holds {error}") from None
    elif any(key.startswith(BACKBONE) for key in weights):
        origin = "Detectron2"
        if all(key.startswith(BACKBONE) for key in weights):
            weights = {key.removeprefix(BACKBONE): weight for key, weight in weights.items()}
    else:
        origin = "mvit_det"
    kind = "classifier" if "head.weight" in weights else "backbone"
    if any(key.startswith(BACKBONE) for key in weights):
        kind = "detector"
    checkpoint = Checkpoint(path, origin, kind, weights, metadata)
    names = checkpoint.backbone
    if "blocks.0.attn.pool_k.weight" not in names or "patch_embed.proj.weight" not in names:
        raise InputError(
            f"{path}: holds the weights of another network, such as {min(found)!r}; expected an MViT's, "
            "such as 'blocks.0.attn.pool_k.weight'"
        )
    return checkpoint


def variant_of(backbone: Mapping[str, Tensor]) -> str | None:
    """Return the name of the variant that weights of a backbone belong to, by their shapes."""
    depth = 0
    while f"blocks.{depth}.norm1.weight" in backbone:
        depth += 1
    is_first_version = "blocks.0.attn.rel_pos_h" not in backbone
    for name, variant in VARIANTS.items():
        if sum(variant.depths) != depth or is_first_version != name.startswith("mvitv1"):
            continue
        firsts = [end + 1 for end in variant.last_block_indexes[:3]]  # of stages 2 to 4
        widths = [_length(backbone.get(f"blocks.{first}.attn.proj.weight")) for first in firsts]
        if widths == [variant.embed_dim * factor for factor in (2, 4, 8)]:
            return name
    return None


def keywords_of(backbone: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the keywords in which a backbone differs from its variant: where its width doubles."""
    name = variant_of(backbone)
    if name is None:
        return {}
    variant = VARIANTS[name]
    first = variant.last_block_indexes[0] + 1  # block of stage 2
    in_att = _length(backbone[f"blocks.{first}.norm1.weight"]) == variant.embed_dim
    return {} if in_att == variant.dim_mul_in_att else {"dim_mul_in_att": in_att}


def unwrapped(key: str) -> str:
    """Return a key without what DDP, a compiler or a Lightning module put into it."""
    while key.startswith(WRAPPERS):
        key = key.partition(".")[2]
    return key.replace("._orig_mod.", ".")


def _length(weight: Tensor | None) -> int | None:
    return None if weight is None or weight.dim() == 0 else weight.shape[0]


def _find_weights(content: Any) -> tuple[Weights, dict[str, Any]]:
    """Return the mapping of names to tensors in a checkpoint, and the plain values beside it."""
    if not isinstance(content, Mapping):
        return {}, {}
    metadata: dict[str, Any] = {
        key: value
        for key, value in content.items()
        if isinstance(value, float | str) or (isinstance(value, int) and abs(value) < 2**63)
    }
    metadata.pop("mvit_det", None)
    if isinstance(content.get("mvit_det"), Mapping):
        metadata["mvit_det"] = dict(content["mvit_det"])
    for inside in (*(content.get(place) for place in PLACES), content):
        if isinstance(inside, Mapping):
            weights = {k: w for k, w in inside.items() if isinstance(k, str) and isinstance(w, Tensor)}
            if weights:
                return weights, metadata
    return {}, metadata
