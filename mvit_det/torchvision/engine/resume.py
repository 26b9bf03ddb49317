"""The settings file of a training run, and the check that a run can be resumed."""

import platform
import re
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from mvit_det import __version__
from mvit_det.data.checked_json import write_checked_json
from mvit_det.errors import InputError
from mvit_det.report import run_folder
from mvit_det.torchvision.engine.checkpoint_files import read_last_checkpoint, read_settings
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig, config_of
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.engine.schedule import Schedule
from mvit_det.weights import identify_checkpoint

# Options besides those of the detector and the schedule that decide the weights.
SAME_OPTIONS = ("seed", "augmentation", "clip_norm", "ema")


def write_settings(options: TrainOptions, schedule: Schedule) -> None:
    """Write the options, the schedule and the versions of a run to ``run.json`` in its folder."""
    versions = {name: version(name) for name in ("torch", "torchvision", "lightning")}
    settings = {
        "options": {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()
        },
        "schedule": asdict(schedule),
        "versions": versions | {"mvit_det": __version__, "python": platform.python_version()},
    }
    write_checked_json(options.out / run_folder.SETTINGS, settings)


def check_resume(options: TrainOptions, config: DetectorConfig, schedule: Schedule, dataset: Path) -> None:
    """Check that the run in ``options.out`` was started with the same configuration and schedule.

    Args:
        options: the options of the resumed run.
        config: configuration of the detector, from these options.
        schedule: schedule, from these options.
        dataset: file of the training annotations, for the error message.

    Raises:
        InputError: if there is no checkpoint to resume from, or if the configuration, the schedule or one
            of :data:`SAME_OPTIONS` differs.
    """
    folder = options.out
    last = folder / run_folder.LAST
    trained = config_of(identify_checkpoint(last, read_last_checkpoint(folder)))
    trained.check_categories(config.categories, last, dataset)
    for name, value in asdict(config).items():
        before = getattr(trained, name)
        if before != value:
            raise InputError(
                f"{last}: was trained with {name} {before}, not {value}; resume with the same options"
            )
    settings = read_settings(folder)
    before = settings["schedule"].get("explanation", "")
    if _numbers(before) != _numbers(schedule.explanation):
        raise InputError(
            f"{folder}: the schedule would now be: {schedule.explanation}; it was: {before}; resume with the "
            "same data and options"
        )
    for name in SAME_OPTIONS:
        value = getattr(options, name)
        before = settings["options"].get(name, value)  # earlier versions lack some options
        if before != value:
            raise InputError(
                f"{folder}: was trained with {name} {before}, not {value}; resume with the same options"
            )


def _numbers(explanation: str) -> list[str]:
    """Return the numbers of the explanation of a schedule, which other versions write in other words."""
    return re.findall(r"\d[\d.e+-]*", explanation.replace(",", ""))
