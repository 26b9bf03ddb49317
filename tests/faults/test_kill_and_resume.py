"""Runs that are killed with SIGKILL and resumed end like unbroken runs; see ``kill_and_resume.py``."""

import pytest

from tests.faults.runs import run_script

pytestmark = pytest.mark.slow


def test_torchvision(tmp_path):
    options = ("--batch-size", "1", "--accumulate", "2", "--ema", "0.9", "--patience", "9", "--workers", "1")
    run_script("kill_and_resume", "--folder", tmp_path, "--kills", 1, *options)


@pytest.mark.detectron2
def test_detectron2(tmp_path):
    options = ("train.accumulate=2", "train.ema.enabled=True", "train.patience=9")
    run_script("kill_and_resume", "--folder", tmp_path, "--kills", 1, "--detectron2", *options)
