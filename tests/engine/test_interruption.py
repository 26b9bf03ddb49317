"""Signals to real processes, which import no more than the standard library."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mvit_det.engine.ending import ENDING
from mvit_det.engine.interruption import interruptible
from mvit_det.engine.launchers import TORCHRUN

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from mvit_det.engine import children, interruption
from mvit_det.engine.ending import ENDING, resumable
from mvit_det.engine.interruption import REQUEUE, defer_interrupts, interruptible, requested
from mvit_det.engine.slurm import requeue
from mvit_det.errors import one_line_errors

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & makes its commands ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so does nohup
interruption.TIME_LIMIT = 1.0
children.PERIOD = 0.05

def ready():
    print(os.getpid(), flush=True)

def wait():
    ready()
    time.sleep(100)

with one_line_errors("program"), interruptible("program", resume="program --resume"):
"""
WAIT = "    wait()"
STEPS = """
    with resumable(lambda: Path("last.ckpt")):
        defer_interrupts(True)
        ready()
        for step in range(1, 1000):
            time.sleep(0.1)
            if requested():
                ENDING.saved_step = step
                raise KeyboardInterrupt
"""
REQUEUED = STEPS.replace(
    "                raise",
    "                ENDING.requeued = requeue() * (requested() == REQUEUE)\n                raise",
)
ENDLESS_STEP = """
    with resumable(lambda: None):
        defer_interrupts(True)
        wait()
"""
SWALLOWED = """
    try:
        wait()
    except BaseException:
        pass
"""
ACCEPTED = """
    try:
        wait()
    except KeyboardInterrupt:
        interruption.REPEAT_TIME = 100.0
        interruption.accept_interrupt()
        os.kill(os.getpid(), signal.SIGTERM)  # as if the first one were repeated
        time.sleep(2 * interruption.TIME_LIMIT)
"""
IMPORT = """
    Path(sys.argv[1]).mkdir()
    Path(sys.argv[1], "extension.py").write_text('''
import __main__, os
try:
    __main__.wait()
except KeyboardInterrupt:
    os.abort()  # as C++ code that does not expect an exception
''')
    sys.path.insert(0, sys.argv[1])
    import extension
"""
WITH_WORKER = """
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torch.utils.data sets a handler that ends the process
        wait()
    defer_interrupts(True)
    while not requested():
        time.sleep(0.05)
    os.write(1, b"alive" if os.waitpid(-1, os.WNOHANG) == (0, 0) else b"dead")
    os.kill(worker, signal.SIGKILL)
    raise KeyboardInterrupt
"""
TWO_PROCESSES = """
    from mvit_det.engine.children import is_child, start_children
    if not is_child():
        start_children(2)
    wait()
"""
TWO_THAT_AGREE = TWO_PROCESSES.replace(
    "    wait()", STEPS.replace("if requested():", "if requested() or Path(sys.argv[1]).exists():")
).replace("raise KeyboardInterrupt", "Path(sys.argv[1]).touch(); time.sleep(0.4); raise KeyboardInterrupt")
CHILD_FAILS = TWO_PROCESSES.replace("    wait()", "    sys.exit('wrong input') if is_child() else wait()")


@pytest.fixture
def start(tmp_path):
    """Start a program in a session of its own, and wait until all of its processes are ready."""
    started = []

    def start_program(body, num_processes=1, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + body, tmp_path / "agreed"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            start_new_session=True,
        )
        started.append(process)
        return process, [int(process.stdout.readline()) for _ in range(num_processes)]

    yield start_program
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end(process, expected_status=1):
    """Return the lines on stderr of a program that ends by itself, with all of its processes."""
    lines = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == expected_status, lines
    return lines


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def wait_until_dead(pids):
    """Wait for processes that close their output a little before they end."""
    end = time.monotonic() + 10
    while any(map(is_alive, pids)):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("body", "line"),
    [
        (WAIT, "program: interrupted"),
        (STEPS, "program: interrupted; saved last.ckpt after step"),
        (SWALLOWED, "program: interrupted"),
        (IMPORT, "program: interrupted"),
        (
            ENDLESS_STEP,
            "program: interrupted in the middle of a step; there is no checkpoint yet; to start again: "
            "program --resume",
        ),
    ],
    ids=["at once", "after a step", "swallowed", "import", "endless step"],
)
def test_a_signal_ends_a_command_with_one_line(start, number, body, line):
    process, _ = start(body)
    process.send_signal(number)
    lines = end(process)
    assert len(lines) == 1
    assert lines[0].startswith(line)
    assert body != STEPS or lines[0].endswith("; to continue: program --resume")


def test_two_signals_at_once_count_as_one_and_a_later_one_ends_the_process(start):
    process, _ = start(ENDLESS_STEP.replace("wait()", "interruption.TIME_LIMIT = 100; wait()"))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    time.sleep(2.5)
    process.send_signal(signal.SIGTERM)  # such as one that another process of the run sends on late
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    (line,) = end(process)
    assert line.startswith("program: interrupted twice; there is no checkpoint yet")


def test_a_signal_that_is_accepted_ends_nothing(start):
    process, _ = start(ACCEPTED)
    process.send_signal(signal.SIGINT)
    assert end(process, expected_status=0) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_leaves_the_loading_process_to_its_parent(start, number):
    process, (worker,) = start(WITH_WORKER)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("alive", "program: interrupted\n")
    assert worker != process.pid


@pytest.mark.parametrize("body", [TWO_PROCESSES, TWO_THAT_AGREE], ids=["at once", "after a step"])
@pytest.mark.parametrize("target", ["first", "second", "all"])
def test_a_signal_to_one_of_two_processes_ends_both_with_one_line(start, body, target):
    process, pids = start(body, num_processes=2)
    second = next(pid for pid in pids if pid != process.pid)
    if target == "all":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        os.kill(process.pid if target == "first" else second, signal.SIGTERM)
    lines = end(process)
    assert len(lines) == 1, lines
    assert lines[0].startswith("program: interrupted")
    wait_until_dead([second])


def test_a_process_that_is_killed_ends_the_first_with_a_line_that_names_memory(start):
    process, pids = start(TWO_PROCESSES, num_processes=2)
    os.kill(next(pid for pid in pids if pid != process.pid), signal.SIGKILL)
    (line,) = end(process)
    assert line.startswith("program: error: process 1 of the run was killed (SIGKILL), most likely because")


def test_the_first_process_that_is_killed_ends_the_others_with_one_line(start):
    process, pids = start(TWO_PROCESSES, num_processes=2)
    process.kill()
    (line,) = end(process, expected_status=-signal.SIGKILL)
    assert line.startswith("program: error: process 0 of the run was killed, most likely because")
    wait_until_dead(pids)


def test_a_process_that_fails_by_itself_ends_the_first_without_another_line(start):
    body = CHILD_FAILS.replace("start_children(2)", "children.PATIENCE = 0.5; start_children(2)")
    process, _ = start(body)
    assert end(process) == ["wrong input"]


def test_processes_end_in_order(start):
    process, _ = start(TWO_PROCESSES.replace("    wait()", "    ready()"), num_processes=2)
    assert end(process, expected_status=0) == []


def test_slurm_requeues_a_job_that_gets_sigusr1(start, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $1 $2 > {tmp_path}/arguments\n")
    scontrol.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    process, _ = start(REQUEUED, SLURM_JOB_ID="42", PATH=path)
    process.send_signal(signal.SIGUSR1)
    (line,) = end(process)
    assert line.endswith("; requeued job 42, which continues")
    assert (tmp_path / "arguments").read_text() == "requeue 42\n"


def test_ignored_signals_stay_ignored_and_slurm_adds_one():
    code = PROGRAM.replace("signal.default_int_handler", "signal.SIG_IGN")
    code += "    print([signal.getsignal(n) is signal.SIG_IGN for n in interruption.SIGNALS])"
    code += "\n    print(callable(signal.getsignal(signal.SIGUSR1)))"
    for job, expected in (({}, "False"), ({"SLURM_JOB_ID": "7"}, "True")):
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"}
        environment |= {"PYTHONPATH": str(ROOT)} | job
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout.splitlines() == ["[True, False, False, False]", expected], done.stderr


def test_a_run_of_torchrun_is_continued_by_its_command(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    with interruptible("train_net.py"), interruptible("train_net.py", "train_net.py --resume"):
        assert ENDING.resume == "the same command with --resume"
