"""Interrupts of whole runs; ``python -m tests.faults.interrupt_runs`` covers more of them."""

import pytest

from tests.faults.integrations import only_long
from tests.faults.runs import run_script


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "phases"),
    [
        (["--processes", "2"], ["training", "final evaluation"]),
        pytest.param(
            ["--processes", "2", "--detectron2"],
            ["training", "final evaluation"],
            marks=pytest.mark.detectron2,
        ),
        (["--processes", "1"], ["predict writing", "eval writing"]),
        pytest.param(
            ["--processes", "1", "--detectron2"], ["eval writing"], marks=[pytest.mark.detectron2, only_long]
        ),
    ],
)
def test_a_command_ends_with_one_line_and_whole_files(tmp_path, flags, phases):
    """SIGTERM goes to the first process of a training run, an evaluation and a prediction.

    The time limit is that of a very slow machine; tests/engine/test_interruption.py tests that it is kept.
    """
    arguments = [
        "--folder",
        tmp_path,
        *flags,
        "--time-limit",
        100,
        "--signal",
        "SIGTERM",
        "--target",
        "first",
    ]
    arguments += [argument for phase in phases for argument in ("--phase", phase)]
    assert run_script("interrupt_runs", *arguments).count("| good") == len(phases)
