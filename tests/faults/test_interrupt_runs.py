"""Interrupts of whole runs; ``python -m tests.faults.interrupt_runs`` covers more of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("integration", "processes", "more"),
    [
        ([], "1", ["predict video", "predict writing"]),
        ([], "2", []),
        pytest.param(["--detectron2"], "1", [], marks=pytest.mark.detectron2),
        pytest.param(["--detectron2"], "2", [], marks=pytest.mark.detectron2),
    ],
    ids=[
        "torchvision, 1 process",
        "torchvision, 2 processes",
        "detectron2, 1 process",
        "detectron2, 2 processes",
    ],
)
def test_a_command_ends_with_one_line_and_whole_files(tmp_path, integration, processes, more):
    """SIGTERM goes to the first process of a training run, an evaluation and a prediction.

    The time limit is that of a very slow machine; tests/engine/test_interruption.py tests that it is kept.
    """
    phases = ["training", "final evaluation", "eval writing", *more]
    arguments = ["--folder", tmp_path, *integration, "--processes", processes, "--time-limit", "100"]
    arguments += ["--signal", "SIGTERM", "--target", "first"]
    arguments += [argument for phase in phases for argument in ("--phase", phase)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.interrupt_runs", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| good") == len(phases)
