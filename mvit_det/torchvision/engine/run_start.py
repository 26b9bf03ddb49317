"""The start of a training run: whether it is new or resumed, and that its folder belongs to it alone."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from mvit_det.engine.ending import resumable
from mvit_det.engine.slurm import is_requeued
from mvit_det.errors import InputError
from mvit_det.files import check_space
from mvit_det.report import run_folder
from mvit_det.report.console import print_line
from mvit_det.report.run_lock import run_lock
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.engine.processes import Processes
from mvit_det.torchvision.engine.resume import check_resume, write_settings
from mvit_det.torchvision.engine.schedule import Schedule
from mvit_det.weights import local_file

FILES = run_folder.TRAINING_FILES + run_folder.RESULT_FILES  # which a new run replaces


def choose_start(options: TrainOptions, console: Console) -> TrainOptions:
    """Return options with which a run continues from its checkpoint, or starts again if there is none yet.

    A job that Slurm has requeued continues its run without being asked to.

    Raises:
        InputError: if there is no run to resume.
    """
    has_run = (options.out / run_folder.SETTINGS).is_file()
    if is_requeued() and has_run:
        options = replace(options, resume=True, overwrite=False)
    if not options.resume or any(options.out.glob("*.ckpt")):
        return options
    if not has_run:
        raise InputError(f"{options.out}: holds no run that could be resumed")
    print_line(console, "the run has no checkpoint yet, and starts again")
    return replace(options, resume=False, overwrite=True)


def check_output(options: TrainOptions) -> None:
    """Check that a new run may write to its folder. Does nothing for a resumed run.

    Raises:
        InputError: if the folder contains another run, or cannot be written to.
    """
    if options.resume:
        return
    weights = local_file(options.weights) if options.weights is not None else None
    paths = (options.data, options.json, options.images, options.val_json, options.val_images, weights)
    inputs = [path for path in paths if path is not None]
    run_folder.check_output(options.out, FILES, options.overwrite, inputs, can_resume=True)


@contextmanager
def locked_folder(options: TrainOptions, processes: Processes, console: Console) -> Iterator[None]:
    """Hold the lock on the folder of the run, and let an unexpected end say how to continue the run."""
    is_first = processes.rank == 0
    lock = run_lock(options.out, partial(print_line, console)) if is_first else nullcontext()
    with lock, resumable(partial(run_folder.last_checkpoint, options.out)):
        if is_first:
            check_output(options)  # again: another run may have used the folder since
        yield


def prepare_folder(
    options: TrainOptions, config: DetectorConfig, schedule: Schedule, dataset: Path, num_bytes: int
) -> None:
    """Check that a run can be resumed, or clear the folder of a new run; then write the settings.

    Args:
        options: see :func:`check_resume` for this argument and the next three.
        num_bytes: what the first checkpoints of a new run need on the disk.
    """
    if options.resume:
        check_resume(options, config, schedule, dataset)
    else:
        run_folder.clear_output(options.out, FILES)
        check_space(options.out / run_folder.LAST, num_bytes)
    write_settings(options, schedule)
