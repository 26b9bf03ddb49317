"""Runs that are killed with SIGKILL and resumed end like unbroken runs; see ``kill_and_resume.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def check(folder, *arguments):
    command = [sys.executable, "-m", "tests.faults.kill_and_resume", "--folder", folder, *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr


def test_torchvision(tmp_path):
    options = ("--batch-size", "1", "--accumulate", "2", "--ema", "0.9", "--patience", "9", "--workers", "1")
    check(tmp_path, "--kills", "2", "--head", "cascade_mask_rcnn", *options)


@pytest.mark.detectron2
def test_detectron2(tmp_path):
    options = ("train.accumulate=2", "train.ema.enabled=True", "train.patience=9")
    check(tmp_path, "--kills", "2", "--detectron2", *options)
