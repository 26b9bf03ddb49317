"""Weights written: as safetensors with their configuration beside them, or as Detectron2 reads them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mvit_det.errors import InputError


def save_weights(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Write a state dict as safetensors, and beside it a JSON file of what it takes to build the model.

    Args:
        weights: a ``state_dict()``.
        path: ends with ``.safetensors``; the configuration's ends with ``.json``.
        config: plain values.

    Raises:
        InputError: for another ending, or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: expected a name that ends with .safetensors")
    apart = {key: weight.detach().cpu().contiguous() for key, weight in weights.items()}
    _write(path, lambda part: save_file(apart, part, metadata={"format": "pt"}))
    text = json.dumps(config, indent=2) + "\n"
    _write(path.with_suffix(".json"), lambda part: part.write_text(text))


def save_for_detectron2(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Write weights under Detectron2's names as its checkpoints are, for ``train.init_checkpoint``.

    Args:
        weights: named as those of a whole detector in Detectron2.
        path: ends with ``.pth``.
        config: plain values, for the way back.

    Raises:
        InputError: as :func:`save_weights`.
    """
    path = Path(path)
    if path.suffix != ".pth":
        raise InputError(f"{path}: expected a name that ends with .pth")
    content = {"model": dict(weights), "mvit_det": dict(config)}
    _write(path, lambda part: torch.save(content, part))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
