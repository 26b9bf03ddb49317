"""The event files of TensorBoard, from which a resumed run removes what it repeats."""

from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.summary.writer.record_writer import RecordWriter

from mvit_det.files import replaced_file


def filter_events(path: Path, is_repeated: Callable[[list[str], int], bool]) -> None:
    """Remove the metrics from an event file that a resumed run logs again.

    An event that was cut off when the process was killed is removed too.

    Args:
        path: the file. No writer may have opened it.
        is_repeated: function from the names of the metrics of an event and its step to whether it is removed.
            It is called for the events in the order of the file.
    """
    with replaced_file(path) as file:
        writer = RecordWriter(file)
        for event in LegacyEventFileLoader(str(path)).Load():
            names = [value.tag for value in event.summary.value]
            if not (names and is_repeated(names, event.step)):
                writer.write(event.SerializeToString())
        writer.flush()
