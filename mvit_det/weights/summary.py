"""What a file of weights holds, in a few lines."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from mvit_det.weights.checkpoint import read_checkpoint

# Of the long configuration that the authors' files carry.
TOLD = r"DATASET|TRAIN_CROP_SIZE|BATCH_SIZE|MAX_EPOCH|BASE_LR|OPTIMIZING_METHOD|WEIGHT_DECAY|DROPPATH_RATE"


def inspect(path: Path) -> str:
    """Return what a file holds: the variant, the kind, sizes, and what it was trained with.

    Raises:
        InputError: as :func:`mvit_det.weights.read_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    weights, backbone = checkpoint.weights, checkpoint.backbone
    dtypes = Counter(str(weight.dtype).removeprefix("torch.") for weight in weights.values())
    parameters = sum(weight.numel() for weight in weights.values())
    lines = [
        f"{path}: {checkpoint}",
        f"  {parameters:,} numbers in {len(weights)} tensors ({', '.join(dtypes)}), "
        f"{sum(weight.numel() for weight in backbone.values()):,} of them the backbone's",
    ]
    keywords = "".join(f", {key}={value}" for key, value in checkpoint.backbone_keywords.items())
    if checkpoint.variant is not None:
        lines.append(f'  backbone: build_mvit("{checkpoint.variant}"{keywords})')
    if "pos_embed" in backbone:
        lines.append(f"  absolute positions: {backbone['pos_embed'].shape[1]} tokens")
    if "cls_token" in weights:
        lines.append("  with a class token")
    return "\n".join([*lines, *(f"  {key}: {value}" for key, value in _told(checkpoint.metadata).items())])


def _told(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that a line has room for, and the telling lines of a configuration."""
    told: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, dict):  # our own configuration
            told |= {name: item for name, item in value.items() if name not in ("variant", "backbone")}
        elif "\n" in str(value):
            told |= dict(re.findall(rf"^\s*({TOLD}):\s*(\S+)", value, re.MULTILINE))
        else:
            told[key] = value
    return {ascii(key)[1:-1]: f"{value!a:.300}" for key, value in told.items() if isinstance(key, str)}
