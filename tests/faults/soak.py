"""Runs the commands for a long time, and checks from outside that nothing which they hold grows.

    python -m tests.faults.soak --folder /tmp/soak --minutes 60
    python -m tests.faults.soak --folder /tmp/soak --minutes 60 --detectron2

Half of the time is for ``mvit-det predict`` on a folder of thousands of images, the other half for training
with an evaluation after each epoch: by ``mvit-det train`` and, with ``--detectron2``, by
``tools/train_net.py`` too. Each command runs in a session of its own, whose processes are found in
``/proc``. A row is printed for each quantity. If one has grown, the exit status is 1.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from mvit_det.data.shapes import write_shapes
from tests.faults.integrations import Detectron2, Torchvision, build_parser
from tests.faults.runs import ROOT, find_processes

IMAGES_PER_SECOND = 40  # more than a CPU processes; to check them takes a tenth of the time
INTERVAL = 2.0  # seconds between samples
MIN_SAMPLES = 30
# By how much the lower decile may rise from the middle to the last third of the samples. Memory rose by up to
# 6 MB in ten minutes where nothing leaks; the detections of all images, kept in memory, by 25 MB in a minute.
TOLERANCES = {
    "memory (MB)": 16.0,
    "file handles": 4.0,
    "threads": 0.0,
    "processes": 0.0,
    "shared memory segments": 0.0,
    "temporary files": 0.0,
    "files of the run": 0.0,
}


def processes(session):
    """Return the ids of the processes in a session, also of those that their parents have left behind."""
    return [process.pid for process in find_processes() if process.session == session]


def count_files(folder, left_out="pictures"):
    return sum(len(names) for path, _, names in os.walk(folder) if Path(path).name != left_out)


def sample(session, seen, temporary, out):
    """Return the current value of each quantity, or None if a process has ended meanwhile.

    Args:
        session: id of the session.
        seen: ids of all its processes so far, which this function adds to.
        temporary: the folder for temporary files.
        out: the output folder. Annotated images in it are not counted.
    """
    values = dict.fromkeys(TOLERANCES, 0.0)
    try:
        for process in processes(session):
            seen.add(process)
            folder = Path("/proc", str(process))
            # Pages that several processes share are divided among them. Those of files are left out: they
            # are also shared with other commands, and the system frees them when it needs memory.
            sizes = re.findall(
                r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", (folder / "smaps_rollup").read_text(), re.MULTILINE
            )
            values["memory (MB)"] += sum(map(int, sizes)) * 1024 / 1e6
            values["file handles"] += len(os.listdir(folder / "fd"))
            values["threads"] += len(os.listdir(folder / "task"))
            values["processes"] += 1
    except OSError:
        return None
    segments = [set(map(int, re.findall(r"\d+", name))) for name in os.listdir("/dev/shm")]
    values["shared memory segments"] = sum(not numbers.isdisjoint(seen) for numbers in segments)
    values["temporary files"] = count_files(temporary)
    values["files of the run"] = count_files(out)
    return values


def growth(values):
    """Return the lower decile of the middle third of a series, and the difference to that of the last third.

    The first third is for warm-up. Loading processes come and go, and memory is freed in steps, so that the
    lowest values say what is held permanently; the decile ignores single samples.
    """
    size = len(values) // 3
    middle, last = (float(np.quantile(part, 0.1)) for part in (values[size : 2 * size], values[-size:]))
    return middle, last - middle


def observe(command, folder, marker, seconds, interval=INTERVAL):
    """Run a command for a time; return the series of each quantity from when the file ``marker`` exists.

    Raises:
        SystemExit: if the command fails.
    """
    temporary, out, log = folder / "tmp", folder / "run", folder / "log.txt"
    temporary.mkdir(parents=True)
    # By default, oneDNN keeps what it has compiled for 1,024 shapes, which takes hours and 0.5 GB to fill.
    environment = os.environ | {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}
    environment |= {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    series, seen = defaultdict(list), set()
    with log.open("w") as file:
        run = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(interval)
            if run.poll() is not None:
                break
            values = sample(run.pid, seen, temporary, out) if any(folder.glob(marker)) else None
            for name, value in (values or {}).items():
                series[name].append(value)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGTERM)
            run.wait(timeout=60)
        elif run.returncode != 0:
            sys.exit(f"ended with status {run.returncode}: {log.read_text()[-2000:]}")
    finally:
        for process in processes(run.pid):
            os.kill(process, signal.SIGKILL)
        run.wait()
    if "Traceback" in log.read_text():
        sys.exit(f"ended with a traceback: {log.read_text()[-2000:]}")
    (folder / "samples.json").write_text(json.dumps(series))
    return series


def report(name, series):
    """Print a row for each quantity, and return the number of those that have grown."""
    count = len(series["processes"])
    if count < MIN_SAMPLES:
        sys.exit(f"{name}: {count} samples; expected at least {MIN_SAMPLES}: let it run for longer")
    num_grown = 0
    for quantity, tolerance in TOLERANCES.items():
        values = series[quantity]
        middle, difference = growth(values)
        grown = difference > tolerance
        num_grown += grown
        row = f"{name} | {quantity} | {middle:.1f} | {difference:+.1f} | at most {max(values):.1f}"
        print(f"{row} | {count} samples | {'GROWS' if grown else 'good'}", flush=True)
    return num_grown


def write_images(folder, count):
    """Write a folder of ``count`` images: a hundred files, with many names each."""
    write_shapes(folder / "shapes", num_train=100, num_val=0)
    (folder / "images").mkdir()
    paths = sorted((folder / "shapes" / "images").iterdir())
    for path in paths:
        Image.open(path).save(path.with_suffix(".jpg"))
    for number in range(count):
        os.link(paths[number % len(paths)].with_suffix(".jpg"), folder / "images" / f"{number:06d}.jpg")
    return folder / "images"


def main():
    parser = build_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the command is ended too
    folder, seconds = options.folder.absolute(), options.minutes * 60
    shutil.rmtree(folder, ignore_errors=True)
    write_shapes(folder / "data", num_train=24, num_val=6)
    command = [sys.executable, "-m", "mvit_det"]
    train = Torchvision(folder / "data", ["--save-every", "4", "--eval-every", "1", "--workers", "1"])
    detector = folder / "detector"
    subprocess.run([*command, *train.command(detector, "--epochs", "1")], cwd=ROOT, check=True)

    images, out = write_images(folder, int(IMAGES_PER_SECOND * seconds / 2)), folder / "predict" / "run"
    predict = [*command, "predict", str(images), "--checkpoint", str(detector), "--out", str(out)]
    runs = [("predict", predict, "run/pictures/*")]
    endless = train.command(folder / "train" / "run", "--epochs", "1000000")
    runs.append(("train", [*command, *endless], "run/last.ckpt"))
    if options.detectron2:
        more = ["train.max_iter=12000000", "train.eval_period=12", "train.checkpointer.period=4"]
        kind = Detectron2(folder / "data", [*more, "dataloader.train.num_workers=1"])
        arguments = kind.command(folder / "train_net" / "run")
        runs.append(("train_net", [sys.executable, "tools/train_net.py", *arguments], "run/last_checkpoint"))
    num_grown = 0
    for name, run, marker in runs:
        share = 1 / 2 if name == "predict" else 1 / 2 / (len(runs) - 1)
        num_grown += report(name, observe(run, folder / name, marker, seconds * share))
    sys.exit(f"{num_grown} quantities have grown" if num_grown else 0)


if __name__ == "__main__":
    main()
