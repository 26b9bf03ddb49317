"""The one line that a command or a script leaves with."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from mvit_det.errors import EXTRA, DependencyError, InputError, one_line_errors

TOOLS = sorted((Path(__file__).parents[1] / "tools").glob("*.py"))


class Unreadable(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("a.png: is empty; expected a picture")


def leave(capsys, run, program="mvit-det"):
    """Run something that fails; return the exit status and what is on stderr."""
    with pytest.raises(SystemExit) as exit_info, one_line_errors(program):
        run()
    return exit_info.value.code, capsys.readouterr().err


def fail(error):
    raise error


def test_bad_input_is_one_line_and_status_2(capsys):
    status = leave(capsys, lambda: fail(InputError("a.json:\nno such file")))
    assert status == (2, "mvit-det: error: a.json: no such file\n")


def test_the_line_starts_with_the_name_of_the_script(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/train_net.py", "--help"])
    assert leave(capsys, lambda: fail(InputError("no")), None) == (2, "train_net.py: error: no\n")


def test_bad_input_in_a_loading_process_loses_its_traceback(capsys):
    status = leave(capsys, lambda: list(DataLoader(Unreadable(), num_workers=1)))
    assert status == (2, "mvit-det: error: a.png: is empty; expected a picture\n")


def test_packages_that_are_missing_or_do_not_fit(capsys):
    assert leave(capsys, lambda: fail(DependencyError("do this"))) == (2, "mvit-det: error: do this\n")
    status = leave(capsys, lambda: __import__("no_such_package"))
    assert status == (2, f"mvit-det: error: no_such_package is not installed: {EXTRA}\n")


def test_an_interrupt_is_one_line_and_status_1(capsys):
    assert leave(capsys, lambda: fail(KeyboardInterrupt())) == (1, "mvit-det: interrupted\n")
    status = leave(capsys, lambda: fail(KeyboardInterrupt("--resume goes on")))
    assert status == (1, "mvit-det: interrupted; --resume goes on\n")


PROCESSES = """
import time
import torch
from mvit_det.errors import one_line_errors

def run(rank):
    with one_line_errors():
        print("ready", flush=True)
        time.sleep(60)

if __name__ == "__main__":
    with one_line_errors():
        torch.multiprocessing.spawn(run, nprocs=2)
"""


def heed_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a job in the background ignores


def test_an_interrupt_of_several_processes_is_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    process = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(TOOLS[0].parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=300)[1] == "script.py: interrupted\n"
    assert process.returncode == 1


def test_our_own_mistakes_keep_their_traceback():
    for error in (
        ValueError("x"),
        ImportError("cannot import name 'x' from 'y'"),
        ModuleNotFoundError("No module named 'mvit_det.x'", name="mvit_det.x"),
    ):
        with pytest.raises(type(error)), one_line_errors():
            raise error


# The benchmark compares with what is there.
@pytest.mark.parametrize("tool", [t for t in TOOLS if t.stem != "benchmark"], ids=lambda tool: tool.name)
def test_the_tools_say_in_one_line_that_detectron2_is_missing(tool, tmp_path):
    (tmp_path / "detectron2.py").write_text("raise ModuleNotFoundError('none', name='detectron2')")
    path = os.pathsep.join([str(tmp_path), str(TOOLS[0].parents[1])])
    done = subprocess.run(
        [sys.executable, tool, "--help"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tool.name}: error: Detectron2 is not installed")
    assert done.stderr.count("\n") == 1
