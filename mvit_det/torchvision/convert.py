"""Files of weights from one form into another."""

from dataclasses import asdict
from pathlib import Path

from mvit_det.data.annotations import category_names, read_coco
from mvit_det.errors import InputError
from mvit_det.torchvision.engine.detector_checkpoint import KEY, config_of
from mvit_det.weights import (
    local_file,
    read_checkpoint,
    save_for_detectron2,
    save_weights,
    to_torchvision,
)


def convert(source: str, out: Path, json: Path | None) -> None:
    """Write a file of weights as ours, ``.safetensors`` and a configuration, or for Detectron2, ``.pth``.

    Args:
        source: a path or a URL, as :func:`mvit_det.weights.load_weights` takes it.
        out: ends with ``.safetensors`` or ``.pth``.
        json: COCO-format JSON whose categories a detector knows, where its file does not name them.

    Raises:
        InputError: if ``source`` cannot be used, or ``out`` exists or ends otherwise.
    """
    if out.suffix not in (".safetensors", ".pth"):
        raise InputError(f"{out}: expected a name that ends with .safetensors or .pth")
    for path in (out, out.with_suffix(".json")) if out.suffix == ".safetensors" else (out,):
        if path.exists():
            raise InputError(f"{path}: exists already; delete it, or name another file")
    checkpoint = read_checkpoint(local_file(source))
    is_detector = checkpoint.kind == "detector"
    if json is not None and (not is_detector or KEY in checkpoint.metadata):
        raise InputError(f"--json {json}: {source} needs no names of classes: it has its own, or no boxes")
    if is_detector:
        config = asdict(config_of(checkpoint, category_names(read_coco(json)) if json else None))
    else:
        config = {"variant": checkpoint.variant, "backbone": checkpoint.backbone_keywords}
    weights = checkpoint.weights
    if out.suffix == ".pth":
        save_for_detectron2(weights, out, config)
    else:
        save_weights(to_torchvision(weights) if is_detector else weights, out, config)
    print(f"{source}: {checkpoint}\nwrote {out}")
