"""Kills one process of training runs and evaluations with SIGKILL, and checks how the others end.

    python -m tests.faults.kill_processes --folder /tmp/faults
    python -m tests.faults.kill_processes --folder /tmp/faults --detectron2 --launcher torchrun --victim rank1

Prints a row for each command: the seconds until all of its processes had ended, the exit status, the lines of
the command, and what is wrong. The commands are started as a user starts them, and would run for minutes.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from mvit_det.data.shapes import write_shapes
from tests.faults.integrations import Detectron2, Torchvision, build_parser, find_own_lines
from tests.faults.runs import ROOT, find_processes, print_row, train_detector

LAUNCHERS = ("single", "own", "torchrun")  # one process; two that the command starts; two of torchrun
VICTIMS = ("rank0", "rank1", "worker")  # the last one is a loading process of the first process
COMMANDS = ("train", "eval")
TIME_LIMIT = 30  # seconds from the death of a process to that of the others
MARK = "MVIT_DET_TEST_RUN"  # environment variable by which the processes of a command are found
NUM_IMAGES = 500  # of an evaluation, which then takes long


@dataclass
class Marked:
    """A process of a command, with what tells the processes of the command apart."""

    pid: int
    parent: int
    command: bytes
    environment: dict[str, str]


def find_marked(mark):
    """Return the processes whose environment contains a mark."""
    found = []
    for process in find_processes():
        folder = Path("/proc", str(process.pid))
        try:
            content = (folder / "environ").read_text(errors="replace")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        environment = dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)
        if environment.get(MARK) == mark:
            found.append(Marked(process.pid, process.parent, command, environment))
    return found


def find_victims(processes, first, launcher):
    """Return name -> process, for the names in VICTIMS and "worker1", of those that have started."""
    victims = {}
    for process in processes:
        if launcher == "torchrun":
            if process.parent == first:
                victims[f"rank{process.environment['RANK']}"] = process
        elif process.pid == first:
            victims["rank0"] = process
        elif process.environment.get("MVIT_DET_PARENT_PROCESS") == str(process.parent):
            victims["rank1"] = process
    for rank, name in (("rank0", "worker"), ("rank1", "worker1")):
        for process in processes:
            parent = victims.get(rank)
            of_parent = (process.parent, process.command, process.environment)
            if parent and of_parent == (parent.pid, parent.command, parent.environment):
                victims[name] = process
    return victims


def build_command(kind, command, launcher, folder):
    """Return the command line."""
    out, trained, many = folder / "killed", folder / "trained", folder / "many"
    own = launcher == "own"
    if isinstance(kind, Detectron2):
        program = [ROOT / "tools" / "train_net.py"]
        flags = ["--num-gpus", "2"] * own
        overrides = ["train.max_iter=100000", "train.eval_period=0"]
        overrides += ["dataloader.train.num_workers=1", "dataloader.test.num_workers=1"]
        if command == "eval":
            flags += ["--eval-only"]
            overrides += [f"train.init_checkpoint={trained}/model_final.pth"]
            overrides += [f"data.val.json={many}/val.json", f"data.val.images={many}/images"]
        arguments = kind.command(out, *overrides, flags=flags)
    else:
        program = ["-m", "mvit_det"]
        more = ["--workers", "1", *["--devices", "2"] * own]
        if command == "train":
            arguments = kind.command(out, "--epochs", "1000", "--eval-every", "1000", *more)
        else:
            files = ["--json", many / "val.json", "--images", many / "images"]
            arguments = ["eval", "--checkpoint", trained / "last.ckpt", *files, "--out", out, *more]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *torchrun * (launcher == "torchrun"), *program, *arguments]


def kill(kind, folder, command, launcher, victim):
    """Start a command and kill a process; return the time, the status, the lines, and problems."""
    out, log, mark = folder / "killed", folder / "log.txt", uuid.uuid4().hex
    shutil.rmtree(out, ignore_errors=True)
    environment = os.environ | {MARK: mark, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        arguments = build_command(kind, command, launcher, folder)
        first = subprocess.Popen(arguments, stdout=file, stderr=file, env=environment, start_new_session=True)
    needed = {"rank0", "worker"} | ({"rank1", "worker1"} if launcher != "single" else set())
    while True:
        victims = find_victims(find_marked(mark), first.pid, launcher)
        has_started = command == "eval" or (out / "last.ckpt").exists() or (out / "last_checkpoint").exists()
        if has_started and needed <= victims.keys():
            break
        if first.poll() is not None:
            return 0, first.returncode, [], [f"ended before the kill: {log.read_text()[-500:]}"]
        time.sleep(0.1)
    begin = time.monotonic()
    os.kill(victims[victim].pid, signal.SIGKILL)
    while (first.poll() is None or find_marked(mark)) and time.monotonic() < begin + 2 * TIME_LIMIT:
        time.sleep(0.05)
    seconds = time.monotonic() - begin
    problems = check(command, launcher, victim, first.poll(), log.read_text())
    problems += [f"{seconds:.1f} s"] if seconds > TIME_LIMIT else []
    for process in find_marked(mark):
        problems.append(f"process {process.pid} is left")
        os.kill(process.pid, signal.SIGKILL)
    return seconds, first.wait(), find_own_lines(log.read_text()), problems


def check(command, launcher, victim, status, text):
    """Return what is wrong with the end of a command."""
    is_first = launcher == "own" and victim == "rank0"
    problems = [f"status {status}"] if status != (-signal.SIGKILL if is_first else 1) else []
    # torchrun reports the death of a process with a traceback of its own.
    tracebacks = text.split("Traceback (most recent")[1:]
    problems += [part for part in tracebacks if launcher != "torchrun" or "mvit_det/" in part][:1]
    lines = find_own_lines(text)
    if launcher == "torchrun" and victim != "worker":
        # torchrun interrupts the others. Outside of a step, they do not know why; its own report says it.
        problems += [f"{len(lines)} lines"] if len(lines) > 1 else []
        return problems + ([] if "(SIGKILL)" in text else ["no cause"])
    problems += [f"{len(lines)} lines"] if len(lines) != 1 else []
    if lines:
        problems += [] if "killed" in lines[0] and "memory" in lines[0] else ["no cause"]
        problems += [] if command == "eval" or "--resume" in lines[0] else ["no command"]
    return problems


def main():
    parser = build_parser(__doc__)
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--launcher", choices=LAUNCHERS, action="append")
    parser.add_argument("--victim", choices=VICTIMS, action="append")
    options = parser.parse_args()
    commands, many = options.command or COMMANDS, options.folder / "many"
    options.folder.mkdir(parents=True, exist_ok=True)
    kind = (Detectron2 if options.detectron2 else Torchvision)(options.folder / "data")
    write_shapes(options.folder / "data", num_train=6, num_val=3)
    if "eval" in commands:
        train_detector(kind, options.folder)
        write_shapes(many, num_train=1, num_val=NUM_IMAGES)
    failures = 0
    for command, launcher, victim in itertools.product(
        commands, options.launcher or LAUNCHERS, options.victim or VICTIMS
    ):
        if launcher == "single" and victim != "worker":
            continue
        seconds, status, lines, problems = kill(kind, options.folder, command, launcher, victim)
        cells = (command, launcher, victim, f"{seconds:.1f} s", status, lines)
        failures += print_row(*cells, problems=problems)
    sys.exit(f"{failures} commands did not end as they should" if failures else 0)


if __name__ == "__main__":
    main()
