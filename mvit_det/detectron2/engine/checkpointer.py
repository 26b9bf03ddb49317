"""The checkpoint files of a training run: how they are written, and what is read to resume the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from omegaconf import DictConfig
from torch import nn

from mvit_det.errors import InputError
from mvit_det.files import check_space, write_file
from mvit_det.report.run_folder import MARKER, marked_checkpoint
from mvit_det.weights import identify_checkpoint, load_all_weights, load_weights
from mvit_det.weights.reading import read_file
from mvit_det.weights.save import content_size, save_content

BEST = "model_best.pth"


class Checkpointer(DetectionCheckpointer):
    """Detectron2's ``DetectionCheckpointer``, but it never leaves an incomplete file.

    Args:
        config: what :func:`mvit_det.detectron2.data.user_data.detector_config` returns.
    """

    def __init__(self, *args: Any, config: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = config

    def save(self, name: str, **kwargs: Any) -> None:
        if not self.save_dir or not self.save_to_disk:
            return
        content = {"model": self.model.state_dict(), **self.config}
        content |= {key: value.state_dict() for key, value in self.checkpointables.items()}
        self._write(content | kwargs, name)

    def copy_last(self, name: str) -> None:
        """Write the last checkpoint under another name too."""
        last = read_last_checkpoint(Path(self.save_dir)) if self.save_to_disk else None
        if last is not None:
            self._write(last[1], name)

    def _write(self, content: dict[str, Any], name: str) -> None:
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {path}")
        save_content(content, path)
        self.tag_last_checkpoint(path.name)

    def has_checkpoint(self) -> bool:
        return bool(self.get_checkpoint_file())

    def get_checkpoint_file(self) -> str:
        name = marked_checkpoint(Path(self.save_dir))
        return str(Path(self.save_dir, name)) if name else ""

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_file(Path(self.save_dir, MARKER), last_filename_basename.encode())


def check_new_run(folder: Path) -> None:
    """Check that a folder contains no run.

    Raises:
        InputError: if it does.
    """
    existing = sorted(path.name for path in folder.glob("model_*.pth")) or [marked_checkpoint(folder)]
    if any(existing):
        raise InputError(
            f"{folder}: already contains a run with {', '.join(existing)}; add --resume to continue it, or "
            "set another folder with train.output_dir=..."
        )


def check_start(cfg: DictConfig, model: nn.Module, resume: bool) -> None:
    """Check the weights from which training starts, and that it does not overwrite another run.

    Raises:
        InputError: if the weights do not fit the model, or the folder contains a run that is not resumed.
        RunError: if there is no space for the weights.
    """
    folder = Path(cfg.train.output_dir)
    if not resume:
        check_new_run(folder)
    last = read_last_checkpoint(folder) if resume else None
    if last is not None:
        load_all_weights(model, identify_checkpoint(*last))
        return
    check_space(folder / "model_final.pth", content_size(model.state_dict()))
    if cfg.train.init_checkpoint:
        load_weights(model, cfg.train.init_checkpoint)


def periodic_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that a run has written at regular steps, up to the one that it resumes from."""
    paths = sorted(folder.glob("model_[0-9]*.pth"))
    last = folder / marked_checkpoint(folder)
    return [path for path in paths if path <= last]  # model_final.pth is behind all of them


def read_last_checkpoint(folder: Path) -> tuple[Path, Any] | None:
    """Return the path and the content of the checkpoint that a resumed run continues from.

    Args:
        folder: the output folder of the run.

    Returns:
        None if there is none.

    Raises:
        InputError: if it is missing or damaged, or has only weights. If another one can be used instead, the
            message says how.
    """
    marker, others = folder / MARKER, {path.name for path in folder.glob("model_*.pth")}
    name = marked_checkpoint(folder)
    if not name:
        if not others:
            return None
        raise InputError(f"{marker}: names no checkpoint; {_advice(folder, others)}")
    path = folder / name
    try:
        content = read_file(path)
        _step(path, content)
    except InputError as error:
        origin = f"{marker} names this file; " if marker.is_file() else ""
        raise InputError(f"{error}; {origin}{_advice(folder, others - {name})}") from None
    return path, content


def _advice(folder: Path, names: set[str]) -> str:
    """Return which of the named files the run can be resumed from, and how."""
    steps = {}
    for name in names:
        try:
            steps[name] = _step(folder / name, read_file(folder / name))
        except InputError:
            continue
    if steps:
        name = max(steps, key=lambda name: steps[name])
        return (
            f"{folder / name} is the last one that can be used, after step {steps[name]}: to continue from "
            f"it, write its name into the file: echo {name} > {folder / MARKER}"
        )
    if BEST in names:
        return (
            f"the run cannot be resumed; {folder / BEST} holds only weights, with which a new run in another "
            "folder can start (train.init_checkpoint)"
        )
    return "the run cannot be resumed, because it has no other checkpoint"


def _step(path: Path, content: Any) -> int:
    """Return the number of steps before a checkpoint.

    Raises:
        InputError: if it holds only weights.
    """
    trainer = content.get("trainer") if isinstance(content, Mapping) else None
    if not isinstance(trainer, Mapping) or not isinstance(trainer.get("iteration"), int):
        raise InputError(f"{path}: holds only weights; expected a checkpoint that the run wrote at a step")
    return int(trainer["iteration"]) + 1
