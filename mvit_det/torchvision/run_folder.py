"""The files of a run, and the care not to write over another run's."""

import shutil
from pathlib import Path

from mvit_det.errors import InputError

SETTINGS, METRICS, DETECTIONS = "run.json", "metrics.json", "detections.json"
LAST, BEST = "last.ckpt", "best.ckpt"
LOGS, PICTURES, CURVES = "logs", "pictures", "losses.png"
IMAGES = "images.json"

TRAINING_FILES = (SETTINGS, LAST, BEST, LOGS, CURVES)
OUTPUT_FILES = (METRICS, DETECTIONS, IMAGES, PICTURES)


def check_output(folder: Path, overwrite: bool) -> None:
    """Raise an InputError if ``folder`` is a file, or holds a run that may not be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; expected a folder to write to")
    held = [name for name in TRAINING_FILES + OUTPUT_FILES if (folder / name).exists()]
    if held and not overwrite:
        raise InputError(
            f"{folder}: already holds {', '.join(held)} of another run; name another folder, or "
            "give --overwrite (or, to go on with a training run, --resume)"
        )


def clear_output(folder: Path) -> None:
    """Remove the files of another run, and those alone, from ``folder``; make it if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TRAINING_FILES + OUTPUT_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
