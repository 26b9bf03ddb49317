"""The names of the files of a run, and checks that keep a run from overwriting the files of another."""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from mvit_det.errors import InputError

SETTINGS, LAST, BEST, LOGS, CURVES = "run.json", "last.ckpt", "best.ckpt", "logs", "losses.png"
PREVIOUS = "previous.ckpt"  # the checkpoint before the last one
METRICS, DETECTIONS, IMAGES, PICTURES = "metrics.json", "detections.json", "images.json", "pictures"
PROBLEMS = "data_problems.txt"

TRAINING_FILES = (SETTINGS, LAST, PREVIOUS, BEST, LOGS, CURVES)
RESULT_FILES = (METRICS, DETECTIONS, IMAGES, PICTURES, PROBLEMS)
MARKER = "last_checkpoint"  # a text file with the name of the last checkpoint in Detectron2
DETECTRON2_FILES = (MARKER, "log.txt")  # written by a training run in Detectron2
CHECKPOINTS = (BEST, "model_best.pth", LAST, "model_final.pth")  # of both integrations, best first


def check_output(
    folder: Path, names: Iterable[str], overwrite: bool, inputs: Iterable[Path], *, can_resume: bool = False
) -> None:
    """Check that a run may write to ``folder``.

    Args:
        folder: the output folder; it need not exist.
        names: files and folders in ``folder`` that :func:`clear_output` would remove.
        overwrite: whether ``names`` may exist.
        inputs: files and folders that the run reads.
        can_resume: whether the run could continue an earlier one instead, for the error message.

    Raises:
        InputError: if ``folder`` is a file, cannot be written to, or has a name that is not UTF-8; if it
            contains one of ``names`` and ``overwrite`` is False; or if removing ``names`` would remove one of
            ``inputs``.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise InputError(f"{folder}: expected a name in UTF-8") from None
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{existing}: is a file; expected a folder to write to")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{existing}: cannot be written to")
    occupied = [name for name in names if (folder / name).exists()]
    if occupied and not overwrite:
        remedy = "--overwrite, or --resume to continue that run" if can_resume else "--overwrite"
        raise InputError(
            f"{folder}: already holds {', '.join(occupied)} of another run; choose another folder, or "
            f"add {remedy}"
        )
    for name in occupied:
        for path in inputs:
            if path.resolve().is_relative_to((folder / name).resolve()):
                raise InputError(f"{path}: --overwrite would remove it with {folder / name}")


def find_checkpoint(path: Path) -> Path:
    """Return the best checkpoint in the folder of a training run. Any other path is returned unchanged.

    Raises:
        InputError: if ``path`` is a folder without a checkpoint of a training run.
    """
    if not path.is_dir():
        return path
    for name in CHECKPOINTS:
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: is a folder without {', '.join(CHECKPOINTS[:-1])} or {CHECKPOINTS[-1]}")


def refuse_training_run(folder: Path) -> None:
    """Check that ``folder`` holds no training run, whose files would mix with other results.

    Raises:
        InputError: if ``folder`` holds a training run.
    """
    if any((folder / name).exists() for name in (*TRAINING_FILES, *DETECTRON2_FILES)):
        raise InputError(f"{folder}: already holds a training run; choose another folder for the results")


def clear_output(folder: Path, names: Iterable[str]) -> None:
    """Create ``folder`` if it does not exist, and remove only ``names`` from it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def marked_checkpoint(folder: Path) -> str:
    """Return the name of the last checkpoint of a run in Detectron2, or an empty string if there is none.

    A run that was killed after its first checkpoint may lack the file with the name.
    """
    with contextlib.suppress(OSError):
        return (folder / MARKER).read_text(errors="replace").strip()
    return max((path.name for path in folder.glob("model_[0-9]*.pth")), default="")


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint of a training run of either integration, or None."""
    path = folder / (marked_checkpoint(folder) or LAST)
    return path if path.is_file() else None
