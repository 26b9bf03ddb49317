import subprocess
import sys

# Prints the threads of the process group before and after the process leaves it.
PROGRAM = """
import sys
from pathlib import Path

import torch
from torch import distributed

from mvit_det.engine.process_group import leave_process_group


def print_threads():
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    print([name for name in names if "gloo" in name])


def use_group():
    group_in_cycle = [distributed.group.WORLD]
    group_in_cycle.append(group_in_cycle)  # as in DistributedDataParallel
    distributed.all_reduce(torch.ones(1))


distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
use_group()
print_threads()
leave_process_group()
print_threads()
"""


def test_a_process_that_leaves_its_group_ends_the_threads_of_the_group(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "rendezvous")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.splitlines()
    assert "pt_gloo_runloop" in before
    assert after == "[]"
