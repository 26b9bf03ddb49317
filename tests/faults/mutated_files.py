"""Reads files that hypothesis has changed at random, and fails at any exception but ``InputError``.

Run in a process of its own, which may take 10 seconds of processor time for a file, and 1 GiB of memory more
than at its start:

    python -m tests.faults.mutated_files COUNT FOLDER KIND [KIND ...]

COUNT is the number of files of each kind, and KIND a key of ``KINDS``. The files are written to FOLDER, so
that the one that ended the process can be found there, in the folder of its kind.
"""

import argparse
import re
import resource
import shutil
import signal
import time
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings

from tests.faults.mutated_data import Coco, Images, Results, Voc, Yolo
from tests.faults.mutated_weights import Run, Weights

KINDS = {
    "coco": Coco,
    "results": Results,
    "yolo": Yolo,
    "voc": Voc,
    "images": Images,
    "weights": Weights,
    "run": Run,
}
MAX_SECONDS = 10  # of processor time, for one file
MAX_WAIT = 300  # seconds, for one file on a busy machine
MAX_BYTES = 2**30  # of memory in addition to that at the start
FILES_AT_ONCE = 500  # hypothesis remembers them, to find new ones


def memory(name):
    """Return an entry of the status of this process, in bytes."""
    return (
        int(re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1]) * 1024
    )


def read_files(reader, count):
    """Read ``count`` changed files; return their number, and the seconds that the slowest took."""
    done, slowest = 0, 0.0

    def read(content):
        nonlocal done, slowest
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)  # ends the process, even in a function written in C
        signal.alarm(MAX_WAIT)
        start = time.process_time()
        try:
            reader.read(content)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
        slowest = max(slowest, time.process_time() - start)
        done += 1

    while done < count:
        options = {"database": None, "deadline": None, "print_blob": False}
        options["suppress_health_check"] = list(HealthCheck)
        few = settings(max_examples=min(FILES_AT_ONCE, count - done), **options)
        few(given(reader.strategy)(read))()
    return done, slowest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", choices=KINDS, nargs="+", metavar="KIND")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = memory("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + MAX_BYTES,) * 2)
    for kind in arguments.kinds:
        folder = arguments.folder / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        done, slowest = read_files(KINDS[kind](folder), arguments.count)
        added = (memory("VmHWM") - start) / 1e6
        print(
            f"{kind}: {done} files in all, {slowest:.2f} s at most, {added:.0f} MB more at most", flush=True
        )


if __name__ == "__main__":
    main()
