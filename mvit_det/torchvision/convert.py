"""Conversion of weights between file formats."""

from dataclasses import asdict
from pathlib import Path

from mvit_det.data.dataset import read_dataset
from mvit_det.data.folders import open_folder, read_split
from mvit_det.data.formats.layout import SPLITS
from mvit_det.errors import InputError, counted
from mvit_det.torchvision.engine.detector_checkpoint import config_of
from mvit_det.weights import (
    local_file,
    read_checkpoint,
    save_for_detectron2,
    save_weights,
    to_torchvision,
)
from mvit_det.weights.checkpoint import CONFIG_KEY


def convert(source: str, out: Path, data: Path | None) -> None:
    """Convert weights to ``.safetensors``, or to ``.pth`` for Detectron2.

    The configuration of the model is written too: into the ``.pth`` file, or into a JSON file next to the
    ``.safetensors`` file.

    Args:
        source: a path or a URL, as for :func:`mvit_det.weights.load_weights`.
        out: the file to write; its suffix, ``.safetensors`` or ``.pth``, selects the format.
        data: the folder of a data set, or a COCO-format JSON file, with the categories of a detector; only
            for a file that does not name them. Of a folder, the training set is read, or else the validation
            set or the test set.

    Raises:
        InputError: if ``source`` or ``data`` cannot be used, if ``out`` has another suffix, or if it or the
            JSON file next to it exists.
    """
    if out.suffix not in (".safetensors", ".pth"):
        raise InputError(f"{out}: expected a name that ends with .safetensors or .pth")
    written = [out, out.with_suffix(".json")] if out.suffix == ".safetensors" else [out]
    for path in written:
        if path.exists():
            raise InputError(f"{path}: exists already; delete it, or choose another name")
    checkpoint = read_checkpoint(local_file(source))
    is_detector = checkpoint.kind == "detector"
    if data is not None and not is_detector:
        raise InputError(f"{data}: {source} is not a detector, and needs no category names")
    if data is not None and CONFIG_KEY in checkpoint.metadata:
        raise InputError(f"{source}: names its classes already; convert it without {data}")
    if is_detector:
        config = asdict(config_of(checkpoint, _read_categories(data) if data else None))
    else:
        config = {"variant": checkpoint.variant, "backbone": checkpoint.backbone_keywords}
    weights = checkpoint.weights
    if out.suffix == ".pth":
        save_for_detectron2(weights, out, config)
    else:
        save_weights(to_torchvision(weights) if is_detector else weights, out, config)
    print(f"{source}: {checkpoint}\nwrote {out}")


def _read_categories(data: Path) -> dict[int, str]:
    if not data.is_dir():
        return read_dataset(data, None, drop_invalid=True).categories
    folder = open_folder(data)
    split = next(split for split in SPLITS if split in folder.splits)
    categories = read_split(folder, split, drop_invalid=True).categories
    print(f"{data}: read {counted(len(categories), 'class', 'classes')} from the {SPLITS[split]} set")
    return categories
