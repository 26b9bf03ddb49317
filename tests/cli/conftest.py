import pytest

from mvit_det.data.shapes import write_shapes
from tests.cli.commands import run_command, train_arguments


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    """Keep colors and line widths independent of the terminal that runs the tests."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with a small data set: images, train.json (6 images) and val.json (3 images)."""
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, num_train=6, num_val=3)
    return folder


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """The folder of a run of two epochs with validation."""
    out = tmp_path_factory.mktemp("runs") / "run"
    validation = ("--val-json", data / "val.json", "--draw", 2, "--epochs", 2)
    run_command(*train_arguments(data, out, *validation))
    return out
