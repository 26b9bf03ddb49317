"""The one-line errors of commands and scripts."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from mvit_det.dependencies import INSTALL_DETECTRON2, install_command
from mvit_det.errors import (
    DependencyError,
    InputError,
    RunError,
    counted,
    one_line_errors,
    out_of_memory_summary,
    printable,
    unknown_name,
)

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tools"


class Unreadable(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("a.png: is empty; expected an image")


def status_and_stderr(capsys, run, program="mvit-det"):
    """Run a function that fails; return the exit status and the text on stderr."""
    with pytest.raises(SystemExit) as exit_info, one_line_errors(program):
        run()
    return exit_info.value.code, capsys.readouterr().err


def raise_error(error):
    raise error


def test_bad_input_is_one_line_and_status_2(capsys):
    result = status_and_stderr(capsys, lambda: raise_error(InputError("a.json:\nno such file")))
    assert result == (2, "mvit-det: error: a.json: no such file\n")


def test_the_line_starts_with_the_name_of_the_script(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/train_net.py", "--help"])
    result = status_and_stderr(capsys, lambda: raise_error(InputError("no")), program=None)
    assert result == (2, "train_net.py: error: no\n")


def test_bad_input_in_a_data_loader_worker_is_one_line(capsys):
    result = status_and_stderr(capsys, lambda: list(DataLoader(Unreadable(), num_workers=1)))
    assert result == (2, "mvit-det: error: a.png: is empty; expected an image\n")


def test_a_package_that_does_not_fit_is_one_line_and_status_2(capsys):
    result = status_and_stderr(capsys, lambda: raise_error(DependencyError("do this")))
    assert result == (2, "mvit-det: error: do this\n")


@pytest.mark.parametrize(
    ("module", "command"),
    [("no_such_package", install_command("torchvision")), ("detectron2.no_such_module", INSTALL_DETECTRON2)],
)
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(capsys, module, command):
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    result = status_and_stderr(capsys, lambda: raise_error(error))
    assert result == (2, f"mvit-det: error: {module} is not installed: {command}\n")


def test_an_interrupt_is_one_line_and_status_1(capsys):
    result = status_and_stderr(capsys, lambda: raise_error(KeyboardInterrupt()))
    assert result == (1, "mvit-det: interrupted\n")
    result = status_and_stderr(capsys, lambda: raise_error(KeyboardInterrupt("add --resume")))
    assert result == (1, "mvit-det: interrupted; add --resume\n")


PROCESSES = """
import os, signal, threading
import torch
from mvit_det.errors import one_line_errors

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it

def run(rank):
    with one_line_errors():
        os.write(1, b"ready\\n")  # in one call: lines of the two processes cannot interleave
        threading.Event().wait()

if __name__ == "__main__":
    with one_line_errors():
        torch.multiprocessing.spawn(run, nprocs=2)
"""


@pytest.mark.slow
def test_an_interrupt_of_several_processes_is_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    process = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    ready = [process.stdout.readline() for _ in range(2)]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    _, stderr = process.communicate()
    assert ready == ["ready\n"] * 2, stderr
    assert stderr == "script.py: interrupted\n"
    assert process.returncode == 1


def test_an_unknown_name_gets_the_closest_one():
    assert str(unknown_name("dtype", "FP16", ["fp16", "bf16"])) == (
        "unknown dtype 'FP16': did you mean 'fp16'? expected one of bf16, fp16"
    )
    assert str(unknown_name("dtype", 5, ["fp16", "bf16"])) == "unknown dtype 5: expected one of bf16, fp16"


def test_the_summary_of_an_out_of_memory_error_ends_with_the_free_memory():
    error = RuntimeError("Tried to allocate 2 GiB.\n GPU 0 has 4 GiB of which 1 GiB is free. Try this.")
    assert out_of_memory_summary(error) == "Tried to allocate 2 GiB. GPU 0 has 4 GiB of which 1 GiB is free"


def test_a_fault_of_the_machine_is_one_line_and_status_1(capsys):
    result = status_and_stderr(capsys, lambda: raise_error(RunError("the disk\nis full")))
    assert result == (1, "mvit-det: error: the disk is full\n")
    error = OSError(errno.ENOSPC, "No space left on device")
    result = status_and_stderr(capsys, lambda: raise_error(error))
    assert result == (1, "mvit-det: error: No space left on device\n")
    error = OSError(errno.EROFS, "Read-only file system", "a.json")
    result = status_and_stderr(capsys, lambda: raise_error(error))
    assert result == (1, "mvit-det: error: a.json: Read-only file system\n")


def test_other_exceptions_pass_through():
    for error in (
        ValueError("x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        ImportError("cannot import name 'x' from 'y'"),
        ModuleNotFoundError("No module named 'mvit_det.x'", name="mvit_det.x"),
    ):
        with pytest.raises(type(error)), one_line_errors():
            raise error


@pytest.mark.parametrize("tool", ["analyze_model.py", "train_net.py", "visualize.py"])
def test_tools_report_a_missing_detectron2_in_one_line(tool, tmp_path):
    (tmp_path / "detectron2.py").write_text("raise ModuleNotFoundError('none', name='detectron2')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(TOOLS / tool), "--help"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tool}: error: Detectron2 is not installed")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes"), (1234, "1,234 classes")]
)
def test_a_number_has_the_right_form_of_its_noun(number, text):
    assert counted(number, "class", "classes") == text
    assert counted(number, "image") == text.replace("classes", "images").replace("class", "image")


def test_text_from_files_is_made_printable():
    assert printable("a\nb\x1b\udcff é") == r"a b\x1b\udcff é"
    assert printable("a" * 60 + "b" * 60, 20) == "aaaaaaaa...bbbbbbbb"


def test_a_name_that_is_too_long_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_, one_line_errors("program"):
        Path("a" * 300).exists()
    assert exit_.value.code == 2
    assert capsys.readouterr().err.endswith("a: File name too long\n")
