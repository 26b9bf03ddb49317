"""Kills one process of training runs and evaluations with SIGKILL, and checks how the others end.

    python -m tests.faults.kill_processes --folder /tmp/faults
    python -m tests.faults.kill_processes --folder /tmp/faults --detectron2 --launcher torchrun --victim rank1

Prints a row for each command: the seconds until all of its processes had ended, the exit status, the lines of
the command, and what is wrong. The commands are started as a user starts them, and would run for minutes.
"""

import argparse
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
from tests.faults.interrupt_runs import prepare
from tests.faults.kill_and_resume import Detectron2, Torchvision

ROOT = Path(__file__).parents[2]
LAUNCHERS = ("single", "own", "torchrun")  # one process; two that the command starts; two of torchrun
VICTIMS = ("rank0", "rank1", "worker")  # the last one is a loading process of the first process
COMMANDS = ("train", "eval")
TIME_LIMIT = 30  # seconds from the death of a process to that of the others
MARK = "MVIT_DET_TEST_RUN"  # environment variable by which the processes of a command are found
NUM_IMAGES = 500  # of an evaluation


@dataclass
class Process:
    pid: int
    parent: int
    command: bytes
    environment: dict[str, str]


def find_processes(mark):
    """Return the processes, except for zombies, whose environment contains a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            content = (folder / "environ").read_text(errors="replace")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        environment = dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)
        if environment.get(MARK) == mark and fields[0] != "Z":
            found.append(Process(int(folder.name), int(fields[1]), command, environment))
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
    out, trained = folder / "killed", folder / "trained"
    own = launcher == "own"
    if isinstance(kind, Detectron2):
        program = [ROOT / "tools" / "train_net.py"]
        flags, overrides = kind.command(out, resume=False)[:2], kind.command(out, resume=False)[2:]
        flags += ["--num-gpus", "2"] * own
        overrides += ["train.max_iter=100000", "train.eval_period=0"]
        overrides += ["dataloader.train.num_workers=1", "dataloader.test.num_workers=1"]
        if command == "eval":
            flags += ["--eval-only"]
            overrides += [
                f"train.init_checkpoint={trained}/model_final.pth",
                f"data.val.json={folder}/many/val.json",
            ]
            overrides += [f"data.val.images={folder}/many/images"]
        arguments = [*flags, *overrides]
    else:
        program = ["-m", "mvit_det"]
        if command == "train":
            arguments = [*kind.command(out, resume=False), "--epochs", "1000", "--eval-every", "1000"]
        else:
            files = ["--json", folder / "many" / "val.json", "--images", folder / "many" / "images"]
            arguments = ["eval", "--checkpoint", trained / "last.ckpt", *files, "--out", out]
        arguments += ["--workers", "1", *["--devices", "2"] * own]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *torchrun * (launcher == "torchrun"), *program, *arguments]


def kill(kind, folder, command, launcher, victim):
    """Start a command and kill a process; return the time, the status, the lines, and problems."""
    out, log, mark = folder / "killed", folder / "log.txt", uuid.uuid4().hex
    shutil.rmtree(out, ignore_errors=True)
    environment = os.environ | {MARK: mark, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        first = subprocess.Popen(
            build_command(kind, command, launcher, folder),
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
    needed = {"rank0", "worker"} | ({"rank1", "worker1"} if launcher != "single" else set())
    while True:
        victims = find_victims(find_processes(mark), first.pid, launcher)
        has_started = command == "eval" or (out / "last.ckpt").exists() or (out / "last_checkpoint").exists()
        if has_started and needed <= victims.keys():
            break
        if first.poll() is not None:
            return 0, first.returncode, [], [f"ended before the kill: {log.read_text()[-500:]}"]
        time.sleep(0.1)
    begin = time.monotonic()
    os.kill(victims[victim].pid, signal.SIGKILL)
    while (first.poll() is None or find_processes(mark)) and time.monotonic() < begin + 2 * TIME_LIMIT:
        time.sleep(0.05)
    seconds = time.monotonic() - begin
    problems = check(command, launcher, victim, first.poll(), log.read_text())
    problems += [f"{seconds:.1f} s"] if seconds > TIME_LIMIT else []
    for process in find_processes(mark):
        problems.append(f"process {process.pid} is left")
        os.kill(process.pid, signal.SIGKILL)
    return seconds, first.wait(), own_lines(log.read_text()), problems


def own_lines(text):
    return [line for line in text.splitlines() if line.startswith(("mvit-det: ", "train_net.py: "))]


def check(command, launcher, victim, status, text):
    """Return what is wrong with the end of a command."""
    is_first = launcher == "own" and victim == "rank0"
    problems = [f"status {status}"] if status != (-signal.SIGKILL if is_first else 1) else []
    # torchrun reports the death of a process with a traceback of its own.
    tracebacks = text.split("Traceback (most recent")[1:]
    problems += [part for part in tracebacks if launcher != "torchrun" or "mvit_det/" in part][:1]
    lines = own_lines(text)
    if launcher == "torchrun" and victim != "worker":
        # torchrun interrupts the others. Outside of a step, they do not know why; its own report says it.
        problems += [f"{len(lines)} lines"] if len(lines) > 1 else []
        return problems + ([] if "(SIGKILL)" in text else ["no cause"])
    problems += [f"{len(lines)} lines"] if len(lines) != 1 else []
    if lines:
        problems += [] if "killed" in lines[0] and "memory" in lines[0] else ["no cause"]
        problems += [] if command == "eval" or "--resume" in lines[0] else ["no command"]
    return problems


def prepare_all(kind, folder, commands):
    """Make what the commands read: a trained detector, and images that an evaluation takes long for."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare(kind, folder)
    if "eval" in commands and not (folder / "many").exists():
        write_shapes(folder / "many", num_train=1, num_val=NUM_IMAGES)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--detectron2", action="store_true")
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--launcher", choices=LAUNCHERS, action="append")
    parser.add_argument("--victim", choices=VICTIMS, action="append")
    options = parser.parse_args()
    kind = (Detectron2 if options.detectron2 else Torchvision)(options.folder / "data", [])
    prepare_all(kind, options.folder, options.command or COMMANDS)
    failures = 0
    for command, launcher, victim in itertools.product(
        options.command or COMMANDS, options.launcher or LAUNCHERS, options.victim or VICTIMS
    ):
        if launcher == "single" and victim != "worker":
            continue
        seconds, status, lines, problems = kill(kind, options.folder, command, launcher, victim)
        failures += bool(problems)
        row = f"{command} | {launcher} | {victim} | {seconds:.1f} s | {status} | {lines}"
        print(f"{row} | {problems or 'good'}", flush=True)
    sys.exit(f"{failures} commands did not end as they should" if failures else 0)


if __name__ == "__main__":
    main()
