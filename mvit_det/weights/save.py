"""Saves weights as a safetensors file with a configuration, or as a checkpoint of Detectron2."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.weights.formats import detectron2


def save_weights(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Save weights as a safetensors file, and a configuration in a JSON file of the same name.

    Args:
        weights: a state dict.
        path: path of the safetensors file.
        config: values for JSON, such as the arguments that build the model.

    Raises:
        InputError: if a file cannot be written.
    """
    path = Path(path)
    text = json.dumps(config, indent=2) + "\n"
    _write(path, lambda part: save_file(_on_cpu(weights), part, metadata={"format": "pt"}))
    _write(path.with_suffix(".json"), lambda part: part.write_text(text))


def save_for_detectron2(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Save weights as a checkpoint that Detectron2 loads as ``train.init_checkpoint``.

    Args:
        weights: a state dict of a detector under Detectron2's names, of a backbone or of a classifier.
        path: path of the file.
        config: strings, numbers and containers of them, which :func:`mvit_det.weights.read_checkpoint`
            returns as ``metadata["mvit_det"]``.

    Raises:
        InputError: if the file cannot be written.
    """
    content = {"model": _on_cpu(detectron2.from_our_names(weights)), "mvit_det": dict(config)}
    _write(Path(path), lambda part: torch.save(content, part))


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: weight.detach().cpu().contiguous() for key, weight in weights.items()}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, and rename it when it is complete."""
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
