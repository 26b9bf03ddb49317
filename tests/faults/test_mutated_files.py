"""Files that are changed at random are read or refused in one line, within 10 seconds and 1 GiB of memory.

``MVIT_DET_MUTATED_FILES`` sets the number of files of each kind; 20000 takes an hour.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mutated_files.py")
COUNT = int(os.environ.get("MVIT_DET_MUTATED_FILES", "100"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coco", "results", "yolo", "voc", "images", "weights"])
def test_mutated_files(kind, tmp_path):
    pytest.importorskip("hypothesis")
    command = [sys.executable, "-W", "ignore", SCRIPT, kind, str(COUNT), tmp_path]
    root = SCRIPT.parents[2]
    run = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(root)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, f"status {run.returncode}; the file is in {tmp_path}\n{run.stderr[-3000:]}"
    assert "files in all" in run.stdout
