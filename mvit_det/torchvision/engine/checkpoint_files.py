"""The checkpoint files of a training run: how they are written, and what is read to resume the run."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn

from mvit_det.data.checked_json import read_checked_json
from mvit_det.errors import InputError
from mvit_det.report import run_folder
from mvit_det.weights.reading import read_file
from mvit_det.weights.save import content_size, save_content


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints that are complete or absent, and keeps the one before the last.

    Lightning's own class writes to the temporary folder of the system, and then moves the file. If that
    folder is on another disk, the move copies the file over the previous checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        assert storage_options is None, "storage options are not supported"
        path = Path(path)
        is_last = path.name == run_folder.LAST
        save_content(checkpoint, path, keep_as=path.with_name(run_folder.PREVIOUS) if is_last else None)


def first_checkpoints_size(detector: nn.Module, *, keep_best: bool) -> int:
    """Return the number of bytes of the first ``last.ckpt`` and, with ``keep_best``, ``best.ckpt``."""
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    weights, moment = content_size(detector.state_dict()), content_size(trained)  # AdamW has two moments
    return (1 + keep_best) * weights + 2 * moment


def read_last_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the content of the checkpoint that a resumed run continues from.

    Args:
        folder: the folder of the run.

    Raises:
        InputError: if it is missing or damaged, or has only weights. If the one before it can be used
            instead, the message says how.
    """
    last, previous = folder / run_folder.LAST, folder / run_folder.PREVIOUS
    try:
        return _read(last)
    except InputError as error:
        if not previous.exists():
            raise
        try:
            step = _read(previous)["global_step"]
        except InputError as other:
            raise InputError(f"{error}; the checkpoint before it cannot be used either: {other}") from None
        raise InputError(
            f"{error}; {previous} is the checkpoint before it, after step {step}: to continue from that one, "
            f"rename it: mv {previous} {last}"
        ) from None


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings that a run wrote when it started.

    Raises:
        InputError: if they are missing or damaged.
    """
    path, last = folder / run_folder.SETTINGS, folder / run_folder.LAST
    try:
        settings = read_checked_json(path)
        options, schedule = settings.get("options"), settings.get("schedule")
        if not isinstance(options, dict) or not isinstance(schedule, dict):
            raise InputError(f"{path}: is damaged: it lacks the options or the schedule")
        if not isinstance(schedule.get("explanation", ""), str):
            raise InputError(f"{path}: is damaged: the explanation of its schedule is not text")
        return settings
    except InputError as error:
        raise InputError(
            f"{error}; the run cannot be resumed without its settings: restore the file from a copy, or "
            f"start a new run in another folder with the weights in {last}"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    content = read_file(path)
    if not isinstance(content, dict) or "optimizer_states" not in content or "global_step" not in content:
        raise InputError(f"{path}: holds only weights; expected the last.ckpt that the run wrote")
    return content
