"""The CSV and TensorBoard files of a run's logs, from which a resumed run removes what it repeats."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from mvit_det.files import replaced_file, write_file

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
        _filter_events(path, step, evaluates)


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


def _filter_events(path: Path, step: int, evaluates: bool) -> None:
    with replaced_file(path) as file:
        writer = RecordWriter(file)
        for event in _kept_events(path, step, evaluates):
            writer.write(event.SerializeToString())
        writer.flush()


def _kept_events(path: Path, step: int, evaluates: bool) -> Iterator[Event]:
    is_repeated = False
    for event in LegacyEventFileLoader(str(path)).Load():
        names = [value.tag for value in event.summary.value]
        if names != ["epoch"]:  # which is logged after the other metrics of a step
            is_repeated = bool(names) and _is_repeated(names, event.step, step, evaluates)
        if not is_repeated:
            yield event
