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
        path: of the first file; the second's ends with ``.json``.
        config: plain values.

    Raises:
        InputError: if a file cannot be written.
    """
    path = Path(path)
    text = json.dumps(config, indent=2) + "\n"
    _write(path, lambda part: save_file(_on_cpu(weights), part, metadata={"format": "pt"}))
    _write(path.with_suffix(".json"), lambda part: part.write_text(text))


def save_for_detectron2(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Write weights as a checkpoint of Detectron2's, for ``train.init_checkpoint``.

    Args:
        weights: named as those of a whole detector in Detectron2.
        path: of the file.
        config: plain values, for the way back.

    Raises:
        InputError: if the file cannot be written.
    """
    content = {"model": _on_cpu(weights), "mvit_det": dict(config)}
    _write(Path(path), lambda part: torch.save(content, part))


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: weight.detach().cpu().contiguous() for key, weight in weights.items()}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
