"""The CSV and TensorBoard files of a run's logs, from which a resumed run removes what it repeats."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from mvit_det.engine.event_files import filter_events
from mvit_det.files import write_file

EVALUATION = "val/"  # prefix of the metrics of an evaluation


def remove_repeated_steps(logs: Path, step: int, *, evaluates: bool) -> None:
    """Remove from the logs of a run what was logged after ``step`` steps.

    Args:
        logs: folder of the logs, with a folder for each start of the run.
        step: number of steps after which the run is resumed.
        evaluates: whether the resumed run starts with the evaluation after that step.
    """
    for path in logs.glob("version_*/metrics.csv"):
        _filter_rows(path, step, evaluates)
    for path in logs.glob("version_*/events.out.tfevents.*"):
        filter_events(path, _RepeatedEvents(step, evaluates))


def _is_repeated(names: Iterable[str], index: int, step: int, evaluates: bool) -> bool:
    """Return whether the metrics ``names`` of the step ``index``, counted from 0, are logged again."""
    if evaluates and any(name.startswith(EVALUATION) for name in names):
        return index >= step - 1
    return index >= step


def _filter_rows(path: Path, step: int, evaluates: bool) -> None:
    text = path.read_bytes().decode()
    whole_lines = text[: text.rfind("\n") + 1]  # the process may have been killed while it wrote the last one
    rows = csv.DictReader(io.StringIO(whole_lines, newline=""))
    kept = [row for row in rows if not _is_repeated_row(row, step, evaluates)]
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, rows.fieldnames or [])
    writer.writeheader()
    writer.writerows(kept)
    write_file(path, content.getvalue().encode())


def _is_repeated_row(row: dict[str, str], step: int, evaluates: bool) -> bool:
    return _is_repeated([name for name in row if row[name]], int(row["step"]), step, evaluates)


class _RepeatedEvents:
    """Returns for the events of a file, in their order, whether they are logged again."""

    def __init__(self, step: int, evaluates: bool) -> None:
        self.step, self.evaluates = step, evaluates
        self.is_repeated = False  # of the last event

    def __call__(self, names: list[str], index: int) -> bool:
        if names != ["epoch"]:  # which is logged after the other metrics of a step
            self.is_repeated = _is_repeated(names, index, self.step, self.evaluates)
        return self.is_repeated
