"""Sends SIGINT and SIGTERM to training runs in each of their phases, and checks how they end.

    python -m tests.faults.interrupt_runs --folder /tmp/faults
    python -m tests.faults.interrupt_runs --folder /tmp/faults --detectron2 --processes 2 --phase training

Prints a row for each run: the seconds until all of its processes had ended, the exit status, the lines of the
command, and what is wrong. The runs are forked from this process, which has imported everything.
"""

import argparse
import functools
import itertools
import os
import pickle
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from mvit_det.data.shapes import write_shapes
from mvit_det.engine import children, interruption
from mvit_det.errors import one_line_errors
from tests.faults.kill_and_resume import Detectron2, Torchvision

PHASES = {  # phase -> for each integration, the function to interrupt, and in which of its calls
    "checking": (
        ("mvit_det.torchvision.train.check_images_with_progress", 1),
        ("mvit_det.detectron2.train.check_run", 1),
    ),
    "training": (
        ("mvit_det.torchvision.engine.lightning_module.DetectorModule.training_step", 2),
        ("mvit_det.detectron2.engine.trainer.Trainer._losses", 2),
    ),
    "evaluation": (
        ("mvit_det.torchvision.engine.lightning_module.DetectorModule.validation_step", 1),
        ("mvit_det.detectron2.engine.evaluation.inference_on_dataset", 1),
    ),
    "final evaluation": (
        ("mvit_det.torchvision.train.evaluate_module", 1),
        ("mvit_det.detectron2.engine.evaluation.inference_on_dataset", 2),
    ),
}
WORK = 2.0  # seconds that the interrupted function takes longer


class ForkedChild:
    """Stands in for ``subprocess.Popen``: a process that was forked before, and waits to be started."""

    pid, pipe = 0, -1

    def __init__(self, command, env):
        os.write(ForkedChild.pipe, pickle.dumps(dict(env)))
        self.status = None

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(ForkedChild.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.05)

    def kill(self):
        if self.poll() is None:
            os.kill(ForkedChild.pid, signal.SIGKILL)


def slow_down(path, call, marker):
    """Let the function ``path`` take longer in one of its calls, in which it creates the file ``marker``."""
    parts = path.split(".")
    num_modules = max(n for n in range(len(parts)) if ".".join(parts[:n]) in sys.modules)
    owner = functools.reduce(getattr, parts[num_modules:-1], sys.modules[".".join(parts[:num_modules])])
    function, calls = getattr(owner, parts[-1]), itertools.count(1)

    def slow(*args, **kwargs):
        if next(calls) == call and os.environ.get("LOCAL_RANK", "0") == "0":
            marker.touch()
            end = time.monotonic() + WORK
            while time.monotonic() < end:
                time.sleep(0.05)
        return function(*args, **kwargs)

    setattr(owner, parts[-1], slow)


def start(kind, arguments, log, processes, phase, marker):
    """Fork a run in a group of its own; return the id of its first process."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["train_net.py"]
        sys.orig_argv = ["python", *sys.argv]
        torchvision, detectron2 = PHASES[phase]
        slow_down(*(torchvision if isinstance(kind, Torchvision) else detectron2), marker)
        if processes == 2:
            reading, ForkedChild.pipe = os.pipe()
            signal.pthread_sigmask(signal.SIG_BLOCK, children.BLOCKED)
            ForkedChild.pid = os.fork()
            if ForkedChild.pid == 0:
                os.close(ForkedChild.pipe)
                environment = os.read(reading, 100_000)
                if not environment:  # the first process has ended without starting this one
                    os._exit(0)
                os.environ |= pickle.loads(environment)
            else:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, children.BLOCKED)
                children.subprocess.Popen = ForkedChild
        with one_line_errors():
            kind.main(arguments)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def group_is_alive(group):
    """Return whether a process of a group has not ended. Zombies have."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def interrupt(kind, folder, processes, phase, number, target):
    """Run and interrupt; return the time, the exit status, the lines of the command, and problems."""
    out, log, marker = folder / "run", folder / "log.txt", folder / "marker"
    shutil.rmtree(out, ignore_errors=True)
    marker.unlink(missing_ok=True)
    pid = start(kind, kind.command(out, resume=False), log, processes, phase, marker)
    while not marker.exists():
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            os.waitpid(pid, 0)
            return 0, None, [], [f"ended before the signal: {log.read_text()[-500:]}"]
        time.sleep(0.02)
    time.sleep(0.3)
    begin = time.monotonic()
    (os.killpg if target == "group" else os.kill)(pid, number)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ended = time.monotonic()
    while group_is_alive(pid) and time.monotonic() < ended + 30:
        time.sleep(0.05)
    seconds = time.monotonic() - begin
    if group_is_alive(pid):
        os.killpg(pid, signal.SIGKILL)
    text = log.read_text()
    lines = [line for line in text.splitlines() if line.startswith(("mvit-det: ", "train_net.py: "))]
    problems = [text[text.index("Traceback") :]] if "Traceback" in text else []
    problems += [f"{seconds:.1f} s"] if seconds > interruption.TIME_LIMIT + 2 else []
    problems += [f"status {status}"] if status != 1 else []
    problems += [f"{len(lines)} lines"] if len(lines) != 1 else []
    checkpoints = [path for path in out.glob("*") if path.suffix in (".ckpt", ".pth")]
    if phase != "checking":
        problems += ["no checkpoint"] if not checkpoints else []
        problems += ["no command"] if lines and "--resume" not in lines[0] else []
    for path in checkpoints:
        torch.load(path, map_location="cpu", weights_only=True)
    problems += [path.name for path in out.glob("*") if ".part" in path.name or path.name.endswith(".tmp")]
    return seconds, status, lines, problems


def build_kind(detectron2, data, processes):
    """Return the command that is run, with two evaluations and checkpoints only at the end of epochs."""
    several = processes == 2
    if not detectron2:
        return Torchvision(data, ["--save-every", "99", *["--devices", "2"] * several])
    kind = Detectron2(data, ["train.max_iter=6", "train.checkpointer.period=99"])
    kind.arguments[2:2] = ["--num-gpus", "2"] * several
    num_flags = 2 + 2 * several

    def command(out, resume):
        flags, overrides = kind.arguments[:num_flags], kind.arguments[num_flags:]
        return [*flags, *["--resume"] * resume, f"train.output_dir={out}", *overrides]

    kind.command = command
    return kind


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--detectron2", action="store_true")
    parser.add_argument("--processes", type=int, choices=(1, 2), action="append")
    parser.add_argument("--phase", choices=PHASES, action="append")
    parser.add_argument("--signal", choices=("SIGINT", "SIGTERM"), action="append")
    parser.add_argument("--target", choices=("first", "group"), action="append")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=interruption.TIME_LIMIT, help="for slow machines")
    options = parser.parse_args()
    interruption.TIME_LIMIT = options.time_limit
    data = options.folder / "data"
    if not data.exists():
        write_shapes(data, num_train=6, num_val=3)
    torch.set_num_threads(1)
    kind_class = Detectron2 if options.detectron2 else Torchvision
    kind_class(data, []).prepare()
    failures = 0
    for processes, phase, name, target, _ in itertools.product(
        options.processes or (1, 2),
        options.phase or PHASES,
        options.signal or ("SIGINT", "SIGTERM"),
        options.target or ("first", "group"),
        range(options.times),
    ):
        kind = build_kind(options.detectron2, data, processes)
        result = interrupt(kind, options.folder, processes, phase, signal.Signals[name], target)
        seconds, status, lines, problems = result
        failures += bool(problems)
        row = f"{processes} | {phase} | {name} | {target} | {seconds:.1f} s | {status} | {lines}"
        print(f"{row} | {problems or 'good'}", flush=True)
    sys.exit(f"{failures} runs did not end as they should" if failures else 0)


if __name__ == "__main__":
    main()
