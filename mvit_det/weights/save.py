"""Saves weights as a safetensors file with a configuration, or as a file of torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mvit_det.files import free_bytes, replaced_file, write_file
from mvit_det.weights.formats import detectron2

ENTRY_BYTES = 512  # about twice what a tensor takes in a file of torch besides its data


def save_weights(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Save weights as a safetensors file, and a configuration in a JSON file of the same name.

    Args:
        weights: a state dict.
        path: path of the safetensors file.
        config: values for JSON, such as the arguments that build the model.

    Raises:
        InputError: if a file of this name is not possible.
        RunError: if the disk is full or cannot be written to.
    """
    path = Path(path)
    text = json.dumps(config, indent=2) + "\n"
    # safetensors writes files itself, but hides the reason if it cannot.
    write_file(path, save(_on_cpu(weights), metadata={"format": "pt"}))
    write_file(path.with_suffix(".json"), text.encode())


def save_for_detectron2(weights: Mapping[str, Tensor], path: str | Path, config: Mapping[str, Any]) -> None:
    """Save weights as a checkpoint that Detectron2 loads as ``train.init_checkpoint``.

    Args:
        weights: a state dict of a detector under Detectron2's names, of a backbone or of a classifier.
        path: path of the file.
        config: strings, numbers and containers of them, which :func:`mvit_det.weights.read_checkpoint`
            returns as ``metadata["mvit_det"]``.

    Raises:
        InputError: if a file of this name is not possible.
        RunError: if the disk is full or cannot be written to.
    """
    content = {"model": _on_cpu(detectron2.from_our_names(weights)), "mvit_det": dict(config)}
    save_content(content, Path(path))


def save_content(content: Mapping[str, Any], path: Path, *, keep_as: Path | None = None) -> None:
    """Write a file of ``torch.save`` that replaces an earlier one when it is complete.

    Args:
        content: nested dicts, lists and tuples with tensors.
        path: path of the file.
        keep_as: name in the same folder under which the earlier file is kept. If the disk has no space for
            a third file, the one of this name is removed first.

    Raises:
        InputError: if a file of this name is not possible.
        RunError: if the disk is full or cannot be written to.
    """
    size = content_size(content)
    free = free_bytes(path.parent) if keep_as is not None else None
    if keep_as is not None and path.exists() and free is not None and free < size:
        keep_as.unlink(missing_ok=True)
    with replaced_file(path, size=size, keep_as=keep_as) as file:
        torch.save(content, file)


def content_size(content: Any) -> int:
    """Return the number of bytes that ``torch.save`` writes for nested containers, or a few more.

    Tensors that share their data count once.
    """
    storages: dict[int, int] = {}
    num_tensors, queue = 0, [content]
    while queue:
        value = queue.pop()
        if isinstance(value, Mapping):
            queue.extend(value.values())
        elif isinstance(value, list | tuple):
            queue.extend(value)
        elif isinstance(value, Tensor):
            num_tensors += 1
            storage = value.untyped_storage()
            storages[storage.data_ptr() or id(value)] = storage.nbytes()
    return sum(storages.values()) + ENTRY_BYTES * (1 + num_tensors)


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: weight.detach().cpu().contiguous() for key, weight in weights.items()}
