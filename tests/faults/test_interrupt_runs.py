"""Interrupts of whole runs; ``python -m tests.faults.interrupt_runs`` covers more of them."""

import pytest

from tests.faults.runs import run_script


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "more"),
    [
        (["--processes", "1"], ["predict video", "predict writing"]),
        (["--processes", "2"], []),
        pytest.param(["--processes", "1", "--detectron2"], [], marks=pytest.mark.detectron2),
        pytest.param(["--processes", "2", "--detectron2"], [], marks=pytest.mark.detectron2),
    ],
    ids=["torchvision 1", "torchvision 2", "detectron2 1", "detectron2 2"],
)
def test_a_command_ends_with_one_line_and_whole_files(tmp_path, flags, more):
    """SIGTERM goes to the first process of a training run, an evaluation and a prediction.

    The time limit is that of a very slow machine; tests/engine/test_interruption.py tests that it is kept.
    """
    phases = ["training", "final evaluation", "eval writing", *more]
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
