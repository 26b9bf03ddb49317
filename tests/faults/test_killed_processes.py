"""Commands of which one process is killed; ``python -m tests.faults.kill_processes`` covers more of them."""

import pytest

from tests.faults.integrations import only_long
from tests.faults.runs import run_script

CASES = [
    ("train", "own", "rank1"),
    pytest.param("train", "torchrun", "worker", marks=only_long),
    pytest.param("eval", "single", "worker", marks=only_long),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "launcher", "victim"), CASES)
@pytest.mark.parametrize(
    "integration",
    [[], pytest.param(["--detectron2"], marks=pytest.mark.detectron2)],
    ids=["torchvision", "detectron2"],
)
def test_all_processes_end_with_one_line(tmp_path, integration, command, launcher, victim):
    arguments = ["--command", command, "--launcher", launcher, "--victim", victim]
    output = run_script("kill_processes", "--folder", tmp_path, *integration, *arguments)
    assert output.count("| good") == 1
