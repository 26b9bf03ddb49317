"""Files that are changed at random are read or refused in one line, within 10 seconds and 1 GiB of memory.

FAULTS=long in the environment reads 100,000 of them, which takes an hour or two.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNT = 14_300 if os.environ.get("FAULTS") == "long" else 100  # of each of the seven kinds


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coco", "results", "yolo", "voc", "images", "weights", "run"])
def test_mutated_files(kind, tmp_path):
    pytest.importorskip("hypothesis")
    module = ["-W", "ignore", "-m", "tests.faults.mutated_files"]
    command = [sys.executable, *module, kind, str(COUNT), tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, f"status {run.returncode}; the file is in {tmp_path}\n{run.stderr[-3000:]}"
    assert "files in all" in run.stdout
