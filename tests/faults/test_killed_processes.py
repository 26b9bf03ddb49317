"""Commands of which one process is killed; ``python -m tests.faults.kill_processes`` covers more of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = [("train", "own", "rank1"), ("train", "torchrun", "worker"), ("eval", "single", "worker")]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "launcher", "victim"), CASES, ids=map(" ".join, CASES))
@pytest.mark.parametrize(
    "integration",
    [[], pytest.param(["--detectron2"], marks=pytest.mark.detectron2)],
    ids=["torchvision", "detectron2"],
)
def test_all_processes_end_with_one_line(tmp_path, integration, command, launcher, victim):
    arguments = ["--command", command, "--launcher", launcher, "--victim", victim]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kill_processes", "--folder", tmp_path, *integration, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| good") == 1
