"""The names that other projects give to the weights of an MViT, turned into ours."""

import re

from torch import Tensor

from mvit_det.weights.formats.detectors import Weights


def is_video(weights: Weights) -> bool:
    """Return whether weights are of a network for videos, as SlowFast has beside those for pictures."""
    patches = weights.get("patch_embed.proj.weight")
    has_frames = patches is not None and patches.dim() == 5 and patches.shape[2] > 1
    return has_frames or "pos_embed_temporal" in weights or any(k.endswith("rel_pos_t") for k in weights)


def from_authors(weights: Weights) -> Weights:
    """Rename what the MViTv2 repository and SlowFast write; kernels of one frame lose that axis."""
    return {
        key.replace("head.projection.", "head."): _without_frame(weight) for key, weight in weights.items()
    }


def from_timm(weights: Weights) -> Weights:
    """Rename what timm writes, which counts blocks within their stage."""
    block = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.")
    found = {(int(match[1]), int(match[2])) for match in map(block.match, weights) if match}
    index = {stage_and_block: number for number, stage_and_block in enumerate(sorted(found))}
    renamed = {}
    for key, weight in weights.items():
        key = block.sub(lambda match: f"blocks.{index[int(match[1]), int(match[2])]}.", key)
        key = re.sub(r"shortcut_proj_(attn|mlp)", "proj", key)
        renamed[key.replace("head.fc.", "head.")] = weight
    return renamed


def _without_frame(weight: Tensor) -> Tensor:
    return weight.squeeze(2) if weight.dim() == 5 else weight
