"""Kills training runs with SIGKILL at random moments, resumes them, and compares them with an unbroken run.

    python -m tests.faults.kill_and_resume --folder /tmp/kills --kills 20 --seed 0
    python -m tests.faults.kill_and_resume --folder /tmp/kills --detectron2

Arguments that it does not know are added to those of the run, such as ``--ema 0.9`` or
``train.accumulate=2``.
"""

import random
import shutil
import signal
import sys
import time
from collections import Counter

import torch

from mvit_det.data.shapes import write_shapes
from tests.faults.integrations import Detectron2, Torchvision, build_parser
from tests.faults.runs import Run, print_row

MAX_KILLS = 3  # of one run
# Lightning's counts, the paths of checkpoints, and a score that Lightning does not restore.
NOT_COMPARED = {"loops", "best_k_models", "current_score"}


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
        print_row(f"{done} kills", f"after {times} of {duration:.1f} s", problems=problems[:5])
        found += problems
        if not problems:
            shutil.rmtree(out)
    return found


def main():
    parser = build_parser(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="number of processes of a run")
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
