"""A second run in the folder of one that lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mvit_det.cli.main import main
from mvit_det.data.shapes import write_shapes

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from mvit_det.report.run_lock import run_lock

with run_lock(Path(sys.argv[1]), print):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("command", ["train", "check", "check --fix"])
def test_a_second_run_is_refused_and_writes_nothing(command, tmp_path, capfd):
    data, out = tmp_path / "data", tmp_path / "out"
    write_shapes(data, num_train=2, num_val=1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, out],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    holder.stdout.readline()
    arguments = {
        "train": ["train", "--data", data, "--variant", "mvitv2_nano", "--size", 64, "--out", out],
        "check": ["check", data, "--out", out],
        "check --fix": ["check", data, "--fix", out / "fixed.json", "--out", tmp_path / "report"],
    }[command]
    with pytest.raises(SystemExit, match="2"):
        main([str(argument) for argument in arguments])
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert f"{out}: another run writes to it: process {holder.pid} on " in line
    assert [path.name for path in out.iterdir()] == [".lock"]
    assert not (tmp_path / "report").exists()
    holder.communicate()
    assert not out.exists()  # it was created for the lock, and stayed empty
