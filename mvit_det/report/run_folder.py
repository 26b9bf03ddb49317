"""The files of a run, and the care not to write over another's."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from mvit_det.errors import InputError

SETTINGS, LAST, BEST, LOGS, CURVES = "run.json", "last.ckpt", "best.ckpt", "logs", "losses.png"
METRICS, DETECTIONS, IMAGES, PICTURES = "metrics.json", "detections.json", "images.json", "pictures"

TRAINING_FILES = (SETTINGS, LAST, BEST, LOGS, CURVES)
RESULT_FILES = (METRICS, DETECTIONS, IMAGES, PICTURES)
DETECTRON2_FILES = ("last_checkpoint", "log.txt")  # of a training run there; it has a metrics.json of its own


def check_output(folder: Path, names: Iterable[str], overwrite: bool, inputs: Iterable[Path]) -> None:
    """Check that a run may write to ``folder``, of which :func:`clear_output` removes ``names``.

    Raises:
        InputError: if it is no folder or cannot be written to; if it holds another run, unless
            ``overwrite``; or if one of the ``inputs`` is among what would be removed.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{existing}: is a file; expected a folder to write to")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{existing}: cannot be written to")
    held = [name for name in names if (folder / name).exists()]
    if held and not overwrite:
        raise InputError(
            f"{folder}: already holds {', '.join(held)} of another run; name another folder, or give "
            "--overwrite (or, to go on with a training run, --resume)"
        )
    for name in held:
        for path in inputs:
            if path.resolve().is_relative_to((folder / name).resolve()):
                raise InputError(f"{path}: --overwrite would remove it with {folder / name}")


def refuse_training_run(folder: Path) -> None:
    """Raise an InputError if results would mix with a training run, whose own they are not."""
    if any((folder / name).exists() for name in (*TRAINING_FILES, *DETECTRON2_FILES)):
        raise InputError(f"{folder}: already holds a training run; name another folder for the results")


def clear_output(folder: Path, names: Iterable[str]) -> None:
    """Make ``folder`` and remove ``names``, and those alone, from it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
