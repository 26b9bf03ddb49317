"""Sends SIGINT and SIGTERM to training runs and other commands in each phase, and checks how they end.

    python -m tests.faults.interrupt_runs --folder /tmp/faults
    python -m tests.faults.interrupt_runs --folder /tmp/faults --detectron2 --processes 2 --phase training

Prints a row for each run: the seconds until all of its processes had ended, the exit status, the lines of the
command, and what is wrong. The runs are forked from this process, which has imported everything.
"""

import itertools
import json
import os
import pickle
import pkgutil
import shutil
import signal
import sys
import time
from functools import partial

import cv2
import numpy as np
import torch
from PIL import Image

from mvit_det.data.shapes import write_shapes
from mvit_det.engine import children, interruption
from mvit_det.report.run_lock import LOCK
from tests.faults.integrations import Detectron2, Torchvision, build_parser, find_own_lines
from tests.faults.runs import find_processes, fork, has_ended, print_row, train_detector

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
    "eval": (
        ("mvit_det.torchvision.engine.lightning_module.DetectorModule.validation_step", 2),
        ("mvit_det.detectron2.engine.evaluation.inference_on_dataset", 1),
    ),
    "eval writing": (
        ("mvit_det.torchvision.evaluate.write_json", 2),
        ("torch.save", 1),  # into a file that is open
    ),
    "predict": (("mvit_det.torchvision.inference.Detector._detect_batch", 2), None),
    "predict video": (("mvit_det.torchvision.inference.Detector._detect_batch", 1), None),
    "predict writing": (("mvit_det.data.json_files._to_bytes", 4), None),  # into files that are open
}
TRAINING = ("training", "evaluation", "final evaluation")  # the phases that leave a checkpoint
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
    owner, _, name = path.rpartition(".")
    owner, calls = pkgutil.resolve_name(owner), itertools.count(1)
    function = getattr(owner, name)

    def slow(*args, **kwargs):
        if next(calls) == call and os.environ.get("LOCAL_RANK", "0") == "0":
            marker.touch()
            end = time.monotonic() + WORK
            while time.monotonic() < end:
                time.sleep(0.05)
        return function(*args, **kwargs)

    setattr(owner, name, slow)


def run(kind, arguments, processes, phase, marker):
    """Run a command that takes longer in a phase.

    If it starts a second process, this is a fork that waits from the beginning.
    """
    torchvision, detectron2 = PHASES[phase]
    slow_down(*(torchvision if isinstance(kind, Torchvision) else detectron2), marker)
    if processes == 2:
        reading, ForkedChild.pipe = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, children.SIGNALS)
        ForkedChild.pid = os.fork()
        if ForkedChild.pid == 0:
            os.close(ForkedChild.pipe)
            environment = os.read(reading, 100_000)
            if not environment:  # the first process has ended without starting this one
                os._exit(0)
            os.environ |= pickle.loads(environment)
        else:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, children.SIGNALS)
            children.subprocess.Popen = ForkedChild
    kind.main(arguments)


def group_is_alive(group):
    return any(process.group == group for process in find_processes())


def interrupt(kind, folder, processes, phase, number, target):
    """Run and interrupt; return the time, the exit status, the lines of the command, and problems."""
    out, log, marker = folder / "run", folder / "log.txt", folder / "marker"
    shutil.rmtree(out, ignore_errors=True)
    marker.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    arguments = build_command(kind, phase, folder, processes)
    pid = fork(partial(run, kind, arguments, processes, phase, marker), log)
    while not marker.exists():
        if has_ended(pid):
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
    lines = find_own_lines(text)
    problems = [text[text.index("Traceback") :]] if "Traceback" in text else []
    problems += [f"{seconds:.1f} s"] if seconds > interruption.TIME_LIMIT + 2 else []
    problems += [f"status {status}"] if status != 1 else []
    problems += [f"{len(lines)} lines"] if len(lines) != 1 else []
    if phase in TRAINING:
        problems += ["no checkpoint"] if not any(out.glob("*.ckpt")) and not any(out.glob("*.pth")) else []
        problems += ["no command"] if lines and "--resume" not in lines[0] else []
    problems += [f"{path.relative_to(out)} is not whole" for path in out.rglob("*") if not is_whole(path)]
    return seconds, status, lines, problems


def is_whole(path):
    """Return whether a file, if it is one that a command writes at once, can be read."""
    if ".part" in path.name or path.suffix == ".tmp" or path.name == LOCK:
        return False
    try:
        if path.suffix in (".ckpt", ".pth"):
            torch.load(path, map_location="cpu", weights_only=True)
        elif path.suffix == ".json" and path.parent.name != "run":  # metrics.json of Detectron2 is a log
            json.loads(path.read_text())
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".mp4":
            return cv2.VideoCapture(str(path)).read()[0]
    except Exception:
        return False
    return True


def build_command(kind, phase, folder, processes):
    """Return the arguments of the command that is interrupted.

    A training run has two evaluations, and checkpoints only at the end of epochs.
    """
    out, trained, data = folder / "run", folder / "trained", folder / "data"
    command, _, _ = phase.partition(" ")
    if isinstance(kind, Detectron2):
        flags = ["--num-gpus", "2"] * (processes == 2)
        overrides = ["train.max_iter=6", "train.checkpointer.period=99"]
        if command == "eval":
            flags += ["--eval-only"]
            overrides += [f"train.init_checkpoint={trained}/model_final.pth"]
        return kind.command(out, *overrides, flags=flags)
    devices = ["--devices", "2"] * (processes == 2)
    if command == "predict":
        source = folder / "video.avi" if phase.endswith("video") else data / "images"
        return ["predict", str(source), "--checkpoint", f"{trained}/last.ckpt", "--out", str(out)]
    if command == "eval":
        files = ["--json", f"{data}/val.json", "--images", f"{data}/images", "--workers", "0"]
        return ["eval", "--checkpoint", f"{trained}/last.ckpt", *files, "--out", str(out), *devices]
    return kind.command(out, "--save-every", "99", *devices)


def write_video(path):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(5):
        video.write(np.zeros((64, 64, 3), np.uint8))
    video.release()


def main():
    parser = build_parser(__doc__)
    parser.add_argument("--processes", type=int, choices=(1, 2), action="append")
    parser.add_argument("--phase", choices=PHASES, action="append")
    parser.add_argument("--signal", choices=("SIGINT", "SIGTERM"), action="append")
    parser.add_argument("--target", choices=("first", "group"), action="append")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=interruption.TIME_LIMIT, help="for slow machines")
    options = parser.parse_args()
    interruption.TIME_LIMIT = options.time_limit
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    kind = (Detectron2 if options.detectron2 else Torchvision)(options.folder / "data")
    write_shapes(options.folder / "data", num_train=6, num_val=3)
    kind.prepare()
    if not set(TRAINING).issuperset(options.phase or PHASES):
        train_detector(kind, options.folder)
    write_video(options.folder / "video.avi")
    failures = 0
    for processes, phase, name, target, _ in itertools.product(
        options.processes or (1, 2),
        options.phase or PHASES,
        options.signal or ("SIGINT", "SIGTERM"),
        options.target or ("first", "group"),
        range(options.times),
    ):
        if PHASES[phase][options.detectron2] is None or (phase.startswith("predict") and processes == 2):
            continue
        result = interrupt(kind, options.folder, processes, phase, signal.Signals[name], target)
        seconds, status, lines, problems = result
        cells = (processes, phase, name, target, f"{seconds:.1f} s", status, lines)
        failures += print_row(*cells, problems=problems)
    sys.exit(f"{failures} runs did not end as they should" if failures else 0)


if __name__ == "__main__":
    main()
