"""Summarizes a weight file for ``mvit-det inspect``."""

import re
from pathlib import Path
from typing import Any

from mvit_det.errors import counted, printable
from mvit_det.weights.checkpoint import read_checkpoint

# Files of the MViTv2 repository contain a long YAML configuration. The summary shows only these keys of it.
YAML_KEYS = (
    r"DATASET|TRAIN_CROP_SIZE|BATCH_SIZE|MAX_EPOCH|BASE_LR|OPTIMIZING_METHOD|WEIGHT_DECAY|DROPPATH_RATE"
)


def inspect(path: Path) -> str:
    """Return a summary of a weight file in a few lines: its variant, kind, sizes and metadata.

    Raises:
        InputError: as :func:`mvit_det.weights.read_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    weights, backbone = checkpoint.weights, checkpoint.backbone
    dtypes = dict.fromkeys(str(weight.dtype).removeprefix("torch.") for weight in weights.values())
    num_values = sum(weight.numel() for weight in weights.values())
    lines = [
        f"{path}: {checkpoint}",
        f"  {counted(num_values, 'number')} in {counted(len(weights), 'tensor')} ({', '.join(dtypes)}), "
        f"{sum(weight.numel() for weight in backbone.values()):,} of them in the backbone",
    ]
    if checkpoint.variant is not None:
        keywords = "".join(f", {key}={value}" for key, value in checkpoint.backbone_keywords.items())
        lines.append(f'  backbone: build_mvit("{checkpoint.variant}"{keywords})')
    if "pos_embed" in backbone:
        lines.append(f"  absolute positions: {backbone['pos_embed'].shape[1]} tokens")
    if "cls_token" in weights:
        lines.append("  with a class token")
    lines += [f"  {key}: {value}" for key, value in _metadata_values(checkpoint.metadata).items()]
    return "\n".join(lines)


def _metadata_values(metadata: dict[str, Any]) -> dict[str, str]:
    """Return the values that the summary shows, each formatted to fit on a line."""
    values: dict[str, Any] = {}
    for key, value in metadata.items():
        if isinstance(value, dict):  # our configuration
            values |= {name: item for name, item in value.items() if name not in ("variant", "backbone")}
        elif "\n" in str(value):
            values |= dict(re.findall(rf"^\s*({YAML_KEYS}):\s*(\S+)", value, re.MULTILINE))
        else:
            values[key] = value
    return {
        printable(key): printable(f"{value!r:.300}") for key, value in values.items() if isinstance(key, str)
    }
