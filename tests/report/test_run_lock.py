import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mvit_det.errors import InputError
from mvit_det.report.run_lock import LOCK, run_lock

ROOT = Path(__file__).parents[2]
# Locks a folder, starts a loading process that lives on when this process is killed, and waits.
HOLDER = """
import os, sys, time
from pathlib import Path
from mvit_det.report.run_lock import run_lock

with run_lock(Path(sys.argv[1]), print):
    worker = os.fork()
    if worker == 0:
        time.sleep(600)
    print(worker, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start_holder():
    """Start a process that holds the lock on a folder; return it, and the id of its loading process."""
    holders = []

    def start(folder):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        worker = int(holder.stdout.readline())
        holders.append((holder, worker))
        return holder, worker

    yield start
    for holder, worker in holders:
        os.kill(worker, signal.SIGKILL)
        holder.kill()
        holder.communicate()


def fail(line):
    raise AssertionError(line)


def test_a_second_process_is_refused_until_the_first_is_killed(start_holder, tmp_path):
    holder, worker = start_holder(tmp_path / "run")
    with (
        pytest.raises(InputError, match=rf"run: another run writes to it: process {holder.pid} on .* -c "),
        run_lock(tmp_path / "run", fail),
    ):
        pass
    holder.kill()
    holder.wait()
    os.kill(worker, 0)  # lives, and has the descriptor of the file
    (tmp_path / "run" / ".last.ckpt.0123abcd.part").touch()  # left by the process that was killed
    with run_lock(tmp_path / "run", fail):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
        assert f"process {os.getpid()} on " in (tmp_path / "run" / LOCK).read_text()
    assert not list((tmp_path / "run").iterdir())


def test_the_process_that_holds_the_lock_may_take_it_again(start_holder, tmp_path):
    with run_lock(tmp_path, fail):
        with run_lock(tmp_path / ".", fail):
            pass
        lock = (tmp_path / LOCK).stat()  # to read the file would release the lock of this process
        second = subprocess.run(
            [sys.executable, "-c", HOLDER, tmp_path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=100,
        )
        assert "another run writes to it" in second.stderr
        assert os.path.samestat((tmp_path / LOCK).stat(), lock)


def test_a_lock_file_that_its_holder_removes_is_made_again(monkeypatch, tmp_path):
    lockf, calls = fcntl.lockf, []

    def remove_once(descriptor, command):
        if not calls:
            (tmp_path / LOCK).unlink()
        calls.append(command)
        lockf(descriptor, command)

    monkeypatch.setattr(fcntl, "lockf", remove_once)
    with run_lock(tmp_path, fail):
        assert (tmp_path / LOCK).is_file()
    assert len(calls) == 2


def test_without_locks_a_run_continues_with_a_warning(monkeypatch, tmp_path):
    def refuse(descriptor, command):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    lines = []
    with run_lock(tmp_path, lines.append):
        pass
    assert len(lines) == 1
    assert "the file system has no locks" in lines[0]
