"""Command lines for the tests of ``mvit-det``."""

import pytest

from mvit_det.cli.main import main


def run_command(*arguments):
    """Run ``mvit-det`` in this process."""
    main([str(argument) for argument in arguments])


def assert_rejected(capfd, arguments, *expected):
    """Assert that a command exits with status 2 and one line on stderr, which contains ``expected``."""
    capfd.readouterr()  # discards the output of earlier commands
    with pytest.raises(SystemExit, match="2"):
        run_command(*arguments)
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("mvit-det: error: ")
    for text in expected:
        assert str(text) in lines[0]


def train_arguments(data, out, *more, variant="mvitv2_nano", json="train.json", images="images"):
    """Return the arguments of a training run of a few seconds on the data set in the folder ``data``."""
    arguments = ["train", "--json", data / json, "--images", data / images, "--out", out]
    arguments += ["--variant", variant, "--size", 96, "--batch-size", 2, "--workers", 0]
    return [str(argument) for argument in (*arguments, *more)]


def file_contents(folder):
    """Return path -> bytes for all files in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
