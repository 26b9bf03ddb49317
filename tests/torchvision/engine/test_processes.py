import os
from pathlib import Path

import pytest
import torch

from mvit_det.engine.ending import ENDING, resumable
from mvit_det.engine.faults import explained_faults
from mvit_det.engine.interruption import interruptible
from mvit_det.engine.launchers import TORCHRUN, Launch
from mvit_det.engine.process_group import leave_process_group
from mvit_det.errors import InputError, RunError
from mvit_det.torchvision.engine.processes import (
    Processes,
    find_processes,
    is_first_process,
    single_error,
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """A machine with four CPU cores and no GPU, on which nothing has started this process."""
    for name in (*TORCHRUN, "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("mvit_det.torchvision.engine.processes.count_cores", lambda: 4)


def set_variables(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def test_processes_that_no_launcher_starts(monkeypatch):
    assert find_processes(None, None) == Processes(devices=1, num_nodes=1, rank=0)
    set_variables(monkeypatch, NODE_RANK=1, MASTER_ADDR="a", MASTER_PORT=1)
    assert find_processes(3, 2) == Processes(devices=3, num_nodes=2, rank=3)
    assert not is_first_process()  # the first of the second machine
    set_variables(monkeypatch, LOCAL_RANK=2)
    assert find_processes(3, 2).rank == 5
    assert find_processes(3, 2).world_size == 6


def test_several_processes_are_started_and_find_each_other(monkeypatch):
    started = []

    def start_children(size, machine, num_machines):
        started.append((size, machine, num_machines))
        return Launch(machine * size, size * num_machines, 0, size, "127.0.0.1", 5)

    monkeypatch.setattr(os, "environ", dict(os.environ))
    at_exit = []
    monkeypatch.setattr("mvit_det.torchvision.engine.processes.start_children", start_children)
    monkeypatch.setattr("mvit_det.torchvision.engine.processes.atexit.register", at_exit.append)
    assert not Processes().start().creates_processes_externally  # a single process needs none
    assert at_exit == []
    environment = Processes(devices=2, num_nodes=3, rank=2).start()
    assert started == [(2, 0, 3)]
    assert (environment.world_size(), environment.main_port) == (6, 5)
    Processes(devices=2, num_nodes=3, rank=0).start()  # the evaluation after training
    assert len(started) == 1
    assert leave_process_group in at_exit


def test_processes_of_torchrun(monkeypatch):
    variables = {"RANK": 2, "WORLD_SIZE": 4, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}
    set_variables(monkeypatch, MASTER_ADDR="a", MASTER_PORT=1, **variables)
    assert find_processes(None, None) == find_processes(2, 2) == Processes(devices=2, num_nodes=2, rank=2)
    assert not is_first_process()
    with pytest.raises(InputError, match="devices 4: torchrun or srun has started 2; leave it out"):
        find_processes(4, None)
    with pytest.raises(InputError, match="num_nodes 1: torchrun or srun has started 2"):
        find_processes(None, 1)


@pytest.mark.parametrize("local_rank", [0, 1])
def test_tasks_of_srun_that_see_one_gpu_each(monkeypatch, local_rank):
    """As after ``srun --ntasks-per-node=2 --gpus-per-task=1``."""
    variables = {"SLURM_PROCID": local_rank, "SLURM_LOCALID": local_rank, "SLURM_STEP_NUM_TASKS": 2}
    variables |= {"SLURM_STEP_TASKS_PER_NODE": 2, "SLURM_STEP_NODELIST": "a", "CUDA_VISIBLE_DEVICES": 0}
    set_variables(monkeypatch, **variables)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="this one sees 1 GPU: .* by --gpus-per-node=2 instead of --gpus-pe"):
        find_processes(None, None)
    # The first task of each machine reports the error, and the others exit silently.
    with pytest.raises(SystemExit if local_rank else InputError), single_error():
        find_processes(None, None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_processes(None, None) == Processes(devices=2, num_nodes=1, rank=local_rank)


def test_bad_numbers_are_refused(monkeypatch):
    with pytest.raises(InputError, match="devices 5: this machine has no GPU .* and 4 CPU cores"):
        find_processes(5, None)
    with pytest.raises(InputError, match="num_nodes 2: .* set NODE_RANK, MASTER_ADDR, MASTER_PORT on"):
        find_processes(1, 2)
    set_variables(monkeypatch, NODE_RANK=2, MASTER_ADDR="a", MASTER_PORT=1)
    with pytest.raises(InputError, match="NODE_RANK 2: expected at most 1"):
        find_processes(1, 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("NODE_RANK", "0")
    with pytest.raises(InputError, match="devices 3: this machine has 2 GPUs"):
        find_processes(3, None)


def test_an_error_is_reported_once_on_each_machine(monkeypatch):
    @single_error()
    def fail():
        raise InputError("a.json: no such file")

    set_variables(monkeypatch, NODE_RANK=1)
    with pytest.raises(InputError):
        fail()
    set_variables(monkeypatch, LOCAL_RANK=1)
    with pytest.raises(SystemExit, match="2"):
        fail()


FAULT = "DataLoader worker (pid 7) is killed by signal: Killed. "


def test_a_caller_in_python_is_told_of_a_fault_and_how_to_continue():
    expected = "memory.*; the last checkpoint is last.ckpt; to continue: the same call with resume=True$"
    with pytest.raises(RunError, match=expected), single_error(), resumable(lambda: Path("last.ckpt")):
        raise RuntimeError(FAULT)
    assert ENDING.resume == ""


def test_a_fault_in_a_command_is_explained_once():
    expected = "memory.*; the last checkpoint is last.ckpt; to continue: train --resume$"
    with (
        pytest.raises(RunError, match=expected) as caught,
        interruptible("train", "train --resume"),
        explained_faults(),
        single_error(),
        resumable(lambda: Path("last.ckpt")),
    ):
        raise RuntimeError(FAULT)
    assert str(caught.value).count("to continue") == 1
