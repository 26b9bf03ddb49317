"""Kills training runs with SIGKILL at random moments, resumes them, and compares them with an unbroken run.

    python -m tests.faults.kill_and_resume --kills 20 --seed 0
    python -m tests.faults.kill_and_resume --kills 20 --seed 0 --detectron2

Arguments that it does not know are added to those of the run, such as ``--ema 0.9`` or
``train.accumulate=2``.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from mvit_det.data.shapes import write_shapes

MAX_KILLS = 3  # of one run
# Lightning's counts, the paths of checkpoints, and a score that Lightning does not restore.
NOT_COMPARED = {"loops", "best_k_models", "current_score"}


class Torchvision:
    """The command ``mvit-det train``."""

    settings = "run.json"  # the file that a run writes once it has checked its input
    checkpoints = ("last.ckpt", "best.ckpt")
    may_lose_metrics = False

    def __init__(self, data, more):
        self.arguments = ["train", "--data", data, "--variant", "mvitv2_nano", "--size", "64"]
        self.arguments += ["--epochs", "3", "--batch-size", "2", "--workers", "0", "--draw", "0"]
        self.arguments += ["--save-every", "1", *more]

    def prepare(self):
        """Import everything, so that a forked process starts at once."""
        import mvit_det.torchvision.train  # noqa: F401

    def main(self, arguments):
        from mvit_det.cli.main import main

        main(arguments)

    def command(self, out, resume):
        return [str(argument) for argument in (*self.arguments, "--out", out, *["--resume"] * resume)]

    def logs(self, out):
        """Return the rows of the CSV files, and the scalars in the event files, each in order."""
        rows, scalars = [], []
        for path in out.glob("logs/version_*/metrics.csv"):
            with path.open(newline="") as file:
                rows += [tuple(sorted((k, v) for k, v in row.items() if v)) for row in csv.DictReader(file)]
        for path in out.glob("logs/version_*/events.out.tfevents.*"):
            for event in LegacyEventFileLoader(str(path)).Load():
                scalars += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        return sorted(rows), sorted(scalar for scalar in scalars if scalar[1] != "hp_metric")


class Detectron2:
    """The script ``tools/train_net.py``."""

    settings = "config.yaml"
    checkpoints = ("model_final.pth", "model_best.pth")
    may_lose_metrics = True  # Detectron2 writes the metrics of a step after its checkpoint and evaluation

    def __init__(self, data, more):
        self.arguments = [
            "--config-file",
            "mask_rcnn_mvitv2_nano",
            *(f"data.{name}.json={data}/{name}.json" for name in ("train", "val")),
            *(f"data.{name}.images={data}/images" for name in ("train", "val")),
            "dataloader.train.mapper.augmentations.0.short_edge_length=[64]",
            "dataloader.test.mapper.augmentations.0.short_edge_length=64",
            "dataloader.train.num_workers=0",
            "dataloader.test.num_workers=0",
            "dataloader.train.total_batch_size=2",
            "model.proposal_generator.post_nms_topk=[50,20]",
            "model.roi_heads.box_predictor.test_score_thresh=0.0",
            "train.max_iter=9",
            "train.eval_period=3",
            "train.checkpointer.period=1",
            "train.log_period=1",
            *more,
        ]

    def prepare(self):
        import mvit_det.detectron2.train  # noqa: F401

    def main(self, arguments):
        from mvit_det.detectron2.train import main

        main(arguments)

    def command(self, out, resume):
        flags, overrides = self.arguments[:2], self.arguments[2:]
        return [*flags, *["--resume"] * resume, f"train.output_dir={out}", *overrides]

    def logs(self, out):
        """Return which metrics are in the JSON file and in the event files, after which steps.

        Their values are medians over the steps since the run was started or resumed.
        """
        lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
        rows = [(line["iteration"], name) for line in lines for name in line if name != "iteration"]
        scalars = [
            (event.step, value.tag)
            for path in out.glob("events.out.tfevents.*")
            for event in LegacyEventFileLoader(str(path)).Load()
            for value in event.summary.value
        ]
        return tuple(
            sorted(e for e in entries if not re.search("time|eta", e[1])) for entries in (rows, scalars)
        )


class Run:
    """A training run in a process group of its own, whose output is appended to the file ``log``.

    Its processes are forks of this one, which has imported everything already.
    """

    def __init__(self, kind, out, log, processes, resume=False):
        self.settings = out / kind.settings
        self.before = self._modified()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            if processes > 1:
                _fork_ranks(processes)
            status = 1
            try:
                kind.main(kind.command(out, resume))
                status = 0
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)

    def wait_for_start(self):
        """Wait until the run has checked its input, or has ended."""
        while self._modified() == self.before and not self.has_ended():
            time.sleep(0.01)

    def has_ended(self):
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill_after(self, seconds):
        """Kill all processes of the run after a time, and return whether it was still running."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.has_ended():
            time.sleep(0.001)
        was_running = not self.has_ended()
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


def differences(one, two, path=""):
    """Yield where two checkpoints differ: in tensors and numbers, but not in the names of files."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        if one.dtype != two.dtype or not torch.equal(one, two):
            yield path
    elif isinstance(one, dict) and isinstance(two, dict):
        if one.keys() != two.keys():
            yield f"{path}: {sorted(map(str, one.keys() ^ two.keys()))}"
        for key in one.keys() & two.keys() - NOT_COMPARED:
            yield from differences(one[key], two[key], f"{path}.{key}")
    elif isinstance(one, list | tuple) and isinstance(two, list | tuple):
        if len(one) != len(two):
            yield path
        for index, (value, other) in enumerate(zip(one, two, strict=False)):
            yield from differences(value, other, f"{path}[{index}]")
    elif not (isinstance(one, str) and isinstance(two, str)) and repr(one) != repr(two):  # nan equals nan
        yield f"{path}: {one} and {two}"


def compare(kind, out, expected):
    """Return what differs between a run and the unbroken one."""
    found = []
    for name in kind.checkpoints:
        one, two = (torch.load(folder / name, "cpu", weights_only=True) for folder in (out, expected))
        found += [f"{name}{path}" for path in differences(one, two)]
    for name, one, two in zip(("csv", "events"), kind.logs(out), kind.logs(expected), strict=True):
        one, two = Counter(one), Counter(two)
        found += [f"{name} extra: {entry}" for entry in (one - two).elements()]
        if not kind.may_lose_metrics:
            found += [f"{name} missing: {entry}" for entry in (two - one).elements()]
    return found


def kill_and_resume(kind, folder, kills, seed, processes):
    """Kill and resume runs until there were ``kills`` kills; return the differences that were found."""
    expected, log = folder / "expected", folder / "log.txt"
    run = Run(kind, expected, log, processes)
    run.wait_for_start()
    start = time.monotonic()
    assert run.wait() == 0, log.read_text()[-3000:]
    duration = time.monotonic() - start
    generator = random.Random(seed)
    done, found = 0, []
    while done < kills:
        out = folder / f"run_{done}"
        times = []
        for number in range(generator.randint(1, MAX_KILLS)):
            run = Run(kind, out, log, processes, resume=number > 0)
            run.wait_for_start()
            seconds = generator.uniform(0, duration)
            if not run.kill_after(seconds):
                break
            times.append(round(seconds, 2))
        done += len(times)
        status = Run(kind, out, log, processes, resume=True).wait()
        assert status == 0, log.read_text()[-3000:]
        problems = compare(kind, out, expected)
        print(
            f"{done} kills; this run after {times} of {duration:.1f} s: {problems[:5] or 'same'}", flush=True
        )
        found += problems
        if not problems:
            shutil.rmtree(out)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="number of processes of a run")
    parser.add_argument("--detectron2", action="store_true")
    parser.add_argument("--folder", type=Path, required=True)
    options, more = parser.parse_known_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    write_shapes(options.folder / "data", num_train=6, num_val=3)
    torch.set_num_threads(1)
    kind = (Detectron2 if options.detectron2 else Torchvision)(options.folder / "data", more)
    kind.prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found = kill_and_resume(kind, options.folder, options.kills, options.seed, options.processes)
    sys.exit(f"{len(found)} differences" if found else 0)


if __name__ == "__main__":
    main()
