"""Classifiers of timm.

timm counts blocks within their stage. The linear layer of a block's shortcut is ``shortcut_proj_attn`` or
``shortcut_proj_mlp``, depending on where the block widens; ours is ``proj``.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from mvit_det.weights.formats.interface import Weights

# At most four digits, because int() raises an error for a string of thousands of digits.
BLOCK = re.compile(r"^stages\.(\d{1,4})\.blocks\.(\d{1,4})\.")
OUR_BLOCK = re.compile(r"^blocks\.(\d{1,4})\.")


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have timm's names."""
    return any(key.startswith("stages.0.blocks.0.attn.") for key in weights)


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return weights of timm under our names."""
    blocks = sorted({(int(match[1]), int(match[2])) for match in map(BLOCK.match, weights) if match})
    indexes = {block: index for index, block in enumerate(blocks)}

    def our_name(key: str) -> str:
        key = BLOCK.sub(lambda match: f"blocks.{indexes[int(match[1]), int(match[2])]}.", key)
        return re.sub(r"\.shortcut_proj_(attn|mlp)\.", ".proj.", key).replace("head.fc.", "head.")

    return {our_name(key): weight for key, weight in weights.items()}


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights of a classifier or a backbone under timm's names.

    The blocks in which the width changes show where each stage begins.
    """
    stage_and_block = _stage_and_block(weights)

    def timm_name(key: str) -> str:
        match = OUR_BLOCK.match(key)
        if match is None:
            return key.replace("head.", "head.fc.") if key.startswith("head.") else key
        index, parameter = int(match[1]), key[match.end() :]
        if parameter.startswith("proj."):
            part = "attn" if _widens_in_attention(weights, index) else "mlp"
            parameter = f"shortcut_proj_{part}.{parameter.removeprefix('proj.')}"
        stage, block = stage_and_block[index]
        return f"stages.{stage}.blocks.{block}.{parameter}"

    return {timm_name(key): weight for key, weight in weights.items()}


def _stage_and_block(weights: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """Return the stage of each block, and its index within the stage."""
    num_blocks = 1 + max((int(match[1]) for match in map(OUR_BLOCK.match, weights) if match), default=-1)
    result: list[tuple[int, int]] = []
    stage = block = 0
    for index in range(num_blocks):
        is_wider = f"blocks.{index}.proj.weight" in weights
        widens_in_attention = is_wider and _widens_in_attention(weights, index)
        if widens_in_attention:  # the first block of a stage
            stage, block = stage + 1, 0
        result.append((stage, block))
        block += 1
        if is_wider and not widens_in_attention:  # the last block of a stage
            stage, block = stage + 1, 0
    return result


def _widens_in_attention(weights: Mapping[str, Tensor], index: int) -> bool:
    """Return whether the output of a block's attention is wider than its input."""
    return weights[f"blocks.{index}.norm1.weight"].shape != weights[f"blocks.{index}.norm2.weight"].shape
