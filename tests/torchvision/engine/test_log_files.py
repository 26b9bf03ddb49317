"""Logs of a run of which four steps were logged, and the evaluation after the third and the fourth."""

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from torch.utils.tensorboard import SummaryWriter

from mvit_det.torchvision.engine.log_files import remove_repeated_steps

ROWS = ["0,0,4.0,", "0,1,3.0,", "0,2,2.0,", "0,2,,9.0", "1,3,1.0,", "1,3,,8.0"]
TEXT = "\r\n".join(["epoch,step,train/loss,val/box_AP", *ROWS, ""])


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "version_0"
    folder.mkdir()
    (folder / "metrics.csv").write_bytes(TEXT.encode())
    with SummaryWriter(folder) as writer:
        for row in ROWS:
            epoch, step, loss, score = row.split(",")
            name, value = ("train/loss", loss) if loss else ("val/box_AP", score)
            writer.add_scalar(name, float(value), int(step))
            writer.add_scalar("epoch", float(epoch), int(step))
    return tmp_path


def read(logs):
    """Return the rows of the CSV file, and those that the event file would have."""
    rows = (logs / "version_0/metrics.csv").read_text().splitlines()[1:]
    (events,) = logs.glob("version_0/events.out.tfevents.*")
    values = [
        (event.step, value.tag, value.simple_value)
        for event in LegacyEventFileLoader(str(events)).Load()
        for value in event.summary.value
    ]
    names = {"train/loss": "{},{},{},", "val/box_AP": "{},{},,{}"}
    pairs = zip(values[::2], values[1::2], strict=True)
    return rows, [names[name].format(int(epoch), step, value) for (step, name, value), (_, _, epoch) in pairs]


@pytest.mark.parametrize(
    ("step", "evaluates", "kept"),
    [(4, False, ROWS), (4, True, ROWS[:5]), (3, False, ROWS[:4]), (3, True, ROWS[:3]), (1, False, ROWS[:1])],
)
def test_steps_that_a_resumed_run_repeats_are_removed(logs, step, evaluates, kept):
    remove_repeated_steps(logs, step, evaluates=evaluates)
    assert read(logs) == (kept, kept)
    assert not list(logs.glob("*/*.part"))


def test_entries_that_were_cut_off_are_removed(logs):
    metrics = logs / "version_0/metrics.csv"
    metrics.write_bytes(metrics.read_bytes()[:-3])
    (events,) = logs.glob("version_0/events.out.tfevents.*")
    with events.open("ab") as file:
        file.write(b"\x18\x00\x00")
    remove_repeated_steps(logs, 4, evaluates=False)
    assert read(logs) == (ROWS[:5], ROWS)
    metrics.write_bytes(b"epoch,st")
    remove_repeated_steps(logs, 4, evaluates=False)
    assert metrics.read_text().split() == []
