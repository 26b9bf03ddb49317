"""What a file of weights is, told by its keys, and its weights under our names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from mvit_det.backbone import VARIANTS
from mvit_det.errors import InputError
from mvit_det.weights.files import read_config, read_file
from mvit_det.weights.homes import to_detectron2

Weights = dict[str, Tensor]

PLACES = ("ema", "model_state", "model", "state_dict")  # of weights in a checkpoint; the first one counts
WRAPPERS = ("module.", "_orig_mod.", "detector.")  # of DDP, of a compiled model, of a Lightning checkpoint
BODY = "backbone.bottom_up."  # before the backbone's names in a detector
OF_CLASSIFIERS = ("cls_token", "norm.", "head.")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, read and understood.

    Attributes:
        path: the file.
        origin: whose names it had.
        kind: ``"backbone"``, ``"classifier"`` or ``"detector"``.
        weights: under our names, which are Detectron2's: a detector's backbone stands under
            ``backbone.bottom_up.``; a classifier's names are those of
            :class:`mvit_det.MViTClassifier`.
        facts: what else the file says: of its training, and ``"mvit_det"``, our configuration.
    """

    path: Path
    origin: str
    kind: str
    weights: Weights
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def backbone(self) -> Weights:
        """The weights of the backbone alone, under the names of :class:`mvit_det.MViT`."""
        if self.kind == "detector":
            return {k.removeprefix(BODY): w for k, w in self.weights.items() if k.startswith(BODY)}
        return {k: w for k, w in self.weights.items() if not k.startswith(OF_CLASSIFIERS)}

    @property
    def variant(self) -> str | None:
        """The name of the variant, None if it is none of them."""
        return variant_of(self.backbone)

    @property
    def keywords(self) -> dict[str, Any]:
        """What :func:`mvit_det.build_mvit` needs to know besides the variant."""
        return keywords_of(self.backbone)

    @property
    def num_classes(self) -> int | None:
        """The classes of a classifier or a detector, without the background."""
        if "head.weight" in self.weights:
            return self.weights["head.weight"].shape[0]
        for key, weight in self.weights.items():
            if key.endswith("cls_score.weight"):
                return weight.shape[0] - 1
        return None

    @property
    def is_cascade(self) -> bool:
        """Whether it is a detector with several box heads."""
        return any(key.startswith("roi_heads.box_head.1.") for key in self.weights)

    def __str__(self) -> str:
        kind = self.kind
        if kind == "detector":
            kind = "Cascade Mask R-CNN" if self.is_cascade else "Mask R-CNN"
        classes = "" if self.num_classes is None else f", {self.num_classes:,} classes"
        return f"{self.variant or 'an MViT of no known variant'}, {kind}{classes} ({self.origin})"


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file and give its weights our names.

    Raises:
        InputError: as :func:`mvit_det.weights.files.read_file`, or if the file is of another network.
    """
    content = read_file(path)
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        content = {"model": content, "mvit_det": read_config(path)}
    return recognise(path, content)


def recognise(path: Path, content: Any) -> Checkpoint:
    """:func:`read_checkpoint` for what has been read from a file."""
    found, facts = _find_weights(content)
    if not found:
        raise InputError(f"{path}: holds no tensors by names; expected the weights of an MViT")
    weights = {unwrapped(key): weight for key, weight in found.items()}
    weights.pop("n_averaged", None)
    _refuse_video(path, weights)

    if any(key.startswith("stages.0.blocks.0.attn.") for key in weights):
        origin, weights = "timm", _from_timm(weights)
    elif "head.projection.weight" in weights:
        is_slowfast = any(weight.dim() == 5 for weight in weights.values())
        origin, weights = "SlowFast" if is_slowfast else "the MViTv2 repository", _from_authors(weights)
    elif any(key.startswith("rpn.head.") for key in weights):
        origin, weights = "mvit_det, torchvision", to_detectron2(weights)
    elif any(key.startswith("backbone.bottom_up.") for key in weights):
        origin = "Detectron2"
    elif any(key.startswith("bottom_up.") for key in weights):
        origin, weights = "Detectron2", {f"backbone.{key}": weight for key, weight in weights.items()}
    else:
        origin = "mvit_det"
    kind = "classifier" if "head.weight" in weights else "backbone"
    if any(key.startswith("backbone.") for key in weights):
        kind = "detector"
    checkpoint = Checkpoint(path, origin, kind, weights, facts)
    names = checkpoint.backbone
    if "blocks.0.attn.pool_k.weight" not in names or "patch_embed.proj.weight" not in names:
        raise InputError(
            f"{path}: holds the weights of another network, such as {min(found)!r}; expected an MViT's, "
            "such as 'blocks.0.attn.pool_k.weight'"
        )
    return checkpoint


def variant_of(backbone: Mapping[str, Tensor]) -> str | None:
    """Return the name of the variant that weights of a backbone belong to, by their shapes."""
    widths: list[int] = []
    while f"blocks.{len(widths)}.norm1.weight" in backbone:
        widths.append(backbone[f"blocks.{len(widths)}.norm1.weight"].shape[0])
    is_first_version = "blocks.0.attn.rel_pos_h" not in backbone
    for name, variant in VARIANTS.items():
        if variant.depth != len(widths) or is_first_version != name.startswith("mvitv1"):
            continue
        after = [_width_after(backbone, end) for end in variant.last_block_indexes[:3]]
        if after == [variant.embed_dim * factor for factor in (2, 4, 8)]:
            return name
    return None


def keywords_of(backbone: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the keywords in which a backbone differs from its variant: where its width doubles."""
    name = variant_of(backbone)
    if name is None:
        return {}
    variant = VARIANTS[name]
    width = backbone[f"blocks.{variant.last_block_indexes[0] + 1}.norm1.weight"].shape[0]
    found = {"dim_mul_in_att": width == variant.embed_dim}
    return {} if found["dim_mul_in_att"] == variant.dim_mul_in_att else found


def _width_after(backbone: Mapping[str, Tensor], block: int) -> int:
    """Return the width of the first attention after a block, wherever the width doubles."""
    return backbone[f"blocks.{block + 1}.attn.proj.weight"].shape[0]


def _find_weights(content: Any) -> tuple[Weights, dict[str, Any]]:
    """Return the mapping of names to tensors in a checkpoint, and the plain values beside it."""
    if not isinstance(content, Mapping):
        return {}, {}
    facts: dict[str, Any] = {k: v for k, v in content.items() if isinstance(v, int | float | str)}
    if isinstance(content.get("mvit_det"), Mapping):
        facts["mvit_det"] = dict(content["mvit_det"])
    for inside in (*(content.get(place) for place in PLACES), content):
        if isinstance(inside, Mapping):
            weights = {k: w for k, w in inside.items() if isinstance(k, str) and isinstance(w, Tensor)}
            if weights:
                return weights, facts
    return {}, facts


def unwrapped(key: str) -> str:
    """Return a key without what DDP, a compiler or a Lightning module put before it."""
    while key.startswith(WRAPPERS):
        key = key.partition(".")[2]
    return key


def _refuse_video(path: Path, weights: Weights) -> None:
    patches = weights.get("patch_embed.proj.weight")
    is_video = patches is not None and patches.dim() == 5 and patches.shape[2] > 1
    if is_video or any(key.endswith("rel_pos_t") for key in weights) or "pos_embed_temporal" in weights:
        raise InputError(f"{path}: holds the weights of a network for videos; expected one for pictures")


def _from_authors(weights: Weights) -> Weights:
    """Rename what the MViTv2 repository and SlowFast write; their 3-D kernels of one frame become 2-D."""
    return {
        key.replace("head.projection.", "head."): weight.squeeze(2) if weight.dim() == 5 else weight
        for key, weight in weights.items()
    }


def _from_timm(weights: Weights) -> Weights:
    """Rename what timm writes, which counts blocks within their stage."""
    found = {tuple(map(int, re.findall(r"\d+", key)[:2])) for key in weights if key.startswith("stages.")}
    index = {f"stages.{s}.blocks.{b}.": f"blocks.{i}." for i, (s, b) in enumerate(sorted(found))}
    renamed = {}
    for key, weight in weights.items():
        if key.startswith("stages."):
            place = ".".join(key.split(".")[:4]) + "."
            key = index[place] + key.removeprefix(place)
        key = re.sub(r"shortcut_proj_(attn|mlp)", "proj", key)
        renamed[key.replace("head.fc.", "head.")] = weight
    return renamed
