"""The soak notices each quantity that grows, and nothing else; see ``soak.py``."""

import secrets
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.faults import soak

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")

COMMAND = """
import os, subprocess, sys, tempfile, threading, time
from pathlib import Path
out, is_leaking = Path(sys.argv[1], "run"), sys.argv[2] == "leaking"
out.mkdir()
(out / "last.ckpt").touch()
held = []
for number in range(120):
    time.sleep(0.02)
    if not is_leaking:
        bytes(10_000_000)
        continue
    held += [b"x" * 1_000_000, tempfile.mkstemp()]
    Path(f"/dev/shm/{sys.argv[3]}_{os.getpid()}_{number}").touch()
    (out / f"{number}.txt").touch()
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if number % 4 == 0:
        held.append(subprocess.Popen(["sleep", "60"]))
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["leaking", "steady"])
def test_only_what_grows_is_reported(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "MIN_SAMPLES", 6)  # on a busy machine
    name = f"soak_{secrets.token_hex(8)}"
    try:
        command = [sys.executable, "-c", COMMAND, str(tmp_path), kind, name]
        series = soak.observe(command, tmp_path, "run/last.ckpt", seconds=3, interval=0.02)
        num_grown = soak.report(kind, series)
    finally:
        for path in Path("/dev/shm").glob(f"{name}_*"):
            path.unlink()
    assert num_grown == (len(soak.TOLERANCES) if kind == "leaking" else 0), capsys.readouterr().out


def test_growth_ignores_warm_up_and_single_samples():
    values = np.full(300, 500.0)
    values[:90] = np.linspace(100, 500, 90)
    values[::7] += 80  # a loading process that comes and goes
    values[[120, 250]] = 5
    assert soak.growth(list(values)) == (500, 0)
    assert soak.growth(list(values + np.arange(300)))[1] == pytest.approx(100, abs=5)


def test_a_command_that_fails_ends_the_soak(tmp_path):
    with pytest.raises(SystemExit, match=r"ended with status 3: out of luck"):
        soak.observe(
            [sys.executable, "-c", "print('out of luck', flush=True); exit(3)"], tmp_path, "x", 30, 0.02
        )
