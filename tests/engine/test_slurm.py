import pytest

from mvit_det.engine.ending import ENDING
from mvit_det.engine.interruption import REQUEUE, STOP
from mvit_det.engine.slurm import is_requeued, requeue
from mvit_det.engine.stop_request import record_checkpoint


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Put a program ``scontrol`` in the path, and return a function that sets what it does."""
    program = tmp_path / "scontrol"

    def set_commands(commands):
        program.write_text(f"#!/bin/sh\n{commands}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    return set_commands


def test_the_job_is_requeued(scontrol, tmp_path):
    scontrol(f"echo $1 $2 > {tmp_path}/arguments")
    assert requeue() == "requeued job 42, which continues"
    assert (tmp_path / "arguments").read_text() == "requeue 42\n"


def test_a_job_that_cannot_be_requeued_is_named_with_the_reason(scontrol, monkeypatch):
    scontrol("echo 'Requested operation is presently disabled' >&2; exit 1")
    assert requeue() == "job 42 was not requeued: Requested operation is presently disabled"
    monkeypatch.setenv("PATH", "/nowhere")
    assert requeue().startswith("job 42 was not requeued: ")


def test_only_a_job_that_was_started_again_is_requeued(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert not is_requeued()
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert is_requeued()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not is_requeued()


def test_a_run_is_requeued_only_if_it_was_asked_for(scontrol, tmp_path, monkeypatch):
    monkeypatch.setattr(ENDING, "find_checkpoint", lambda: tmp_path / "last.ckpt")
    monkeypatch.setattr(ENDING, "saved_step", None)
    monkeypatch.setattr(ENDING, "requeued", "")
    scontrol("exit 0")
    record_checkpoint(STOP, 7)
    assert ENDING.how_to_continue() == f"saved {tmp_path}/last.ckpt after step 7"
    record_checkpoint(REQUEUE, 7)
    assert ENDING.how_to_continue().endswith("after step 7; requeued job 42, which continues")
