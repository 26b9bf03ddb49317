"""Training runs and scripts in processes of their own, and the processes that they start."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mvit_det.errors import one_line_errors

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    group: int
    session: int


def find_processes():
    """Yield the processes of the system, except for those that have ended and have not been waited for."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *numbers = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if state != "Z":
            yield Process(int(stat.parent.name), *map(int, numbers[:3]))


def run_script(name, *arguments):
    """Run the script ``tests/faults/NAME.py``, which must end with status 0, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.faults.{name}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout}{done.stderr[-3000:]}"
    return done.stdout


def fork(function, log):
    """Call a function in a fork of this process, which has imported everything; return its id.

    The fork has a session of its own. What it prints is appended to the file ``log``.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & makes its commands ignore it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["train_net.py"]
        sys.orig_argv = ["python", *sys.argv]
        with one_line_errors():
            function()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def has_ended(pid):
    """Return whether a child of this process has ended. It must still be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Run:
    """A training run in a session of its own, whose output is appended to the file ``log``.

    Its processes are forks of this one.
    """

    def __init__(self, kind, out, log, processes=1, resume=False):
        self.settings = out / kind.settings
        self.before = self._modified()

        def train():
            if processes > 1:
                _fork_ranks(processes)
            kind.main(kind.command(out, resume=resume))

        self.pid = fork(train, log)

    def wait_for_start(self):
        """Wait until the run has checked its input, or has ended."""
        while self._modified() == self.before and not has_ended(self.pid):
            time.sleep(0.01)

    def kill_after(self, seconds):
        """Kill all processes of the run after a time, and return whether it was still running."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not has_ended(self.pid):
            time.sleep(0.001)
        was_running = not has_ended(self.pid)
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        return was_running

    def wait(self):
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except SystemExit:  # this process is told to end
            os.killpg(self.pid, signal.SIGKILL)
            raise

    def _modified(self):
        return self.settings.stat().st_mtime_ns if self.settings.exists() else None


def _fork_ranks(processes):
    """Fork the other processes of a run, and set the environment variables of torchrun in each."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    values = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in values.items()} | {"MASTER_ADDR": "localhost"}
    rank = next((rank for rank in range(1, processes) if os.fork() == 0), 0)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"}


def train_detector(kind, folder):
    """Train a detector in ``folder/trained``, unless it exists."""
    trained = folder / "trained"
    if not any((trained / name).exists() for name in kind.checkpoints):
        log = folder / "training.txt"
        assert Run(kind, trained, log).wait() == 0, log.read_text()


def print_row(*cells, problems):
    """Print a row of a table, and return whether there are problems."""
    print(*cells, problems or "good", sep=" | ", flush=True)
    return bool(problems)
