import os

import pytest

from mvit_det.engine.launchers import TORCHRUN, Launch, count_cores, find_launch
from mvit_det.errors import InputError

NAMES = (*TORCHRUN, "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")
NAMES += ("SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST", "SLURM_JOB_ID", "SLURM_STEP_ID")
SRUN = {  # the last of six processes on three machines
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "SLURM_STEP_NODELIST": "gpu[07-08,11],login",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "3",
}


@pytest.fixture
def environment(monkeypatch):
    """A function that sets the variables of a launcher, after removing those of this process."""

    def replace(variables):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return replace


def test_torchrun(environment):
    values = ("5", "6", "1", "10.0.0.1", "29500")
    environment(dict(zip(TORCHRUN, values, strict=True)) | {"LOCAL_WORLD_SIZE": "2"})
    launch = find_launch()
    assert launch == Launch(5, 6, 1, 2, "10.0.0.1", 29500)
    assert launch.num_machines == 3


def test_srun(environment, monkeypatch):
    environment(SRUN)
    launch = find_launch()
    assert launch == Launch(5, 6, 1, 2, "gpu07", 15_000 + 4570)  # (1234567 + 3) % 10000
    for name in (*TORCHRUN, "LOCAL_WORLD_SIZE", "GROUP_RANK"):
        monkeypatch.setenv(name, "")  # so that they are removed after the test
    launch.export()
    assert [os.environ[name] for name in TORCHRUN] == ["5", "6", "1", "gpu07", "19570"]
    assert os.environ["GROUP_RANK"] == "2"
    assert find_launch() == launch  # from the exported variables


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("node1", "node1"), ("a1,a2", "a1"), ("n[3,5-9]", "n3"), ("rack[2-3]n[04-07]", "rack2n04")],
)
def test_the_first_host_of_a_list(environment, hosts, first):
    environment(SRUN | {"SLURM_STEP_NODELIST": hosts})
    assert find_launch().address == first


@pytest.mark.parametrize(
    "variables", [{}, SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, {"SLURM_PROCID": "0", "LOCAL_RANK": "0"}]
)
def test_other_processes_are_not_of_a_launcher(environment, variables):
    """Neither is a single task, nor the batch script of a job, which has no step."""
    environment(variables)
    assert find_launch() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "2,4"}, "SLURM_STEP_TASKS_PER_NODE is '2,4': every machine needs"),
        ({"SLURM_PROCID": "x"}, "SLURM_PROCID is 'x': expected an integer of at least 0"),
        ({"SLURM_PROCID": "6"}, "process 6 of 6"),
        ({"SLURM_STEP_NUM_TASKS": "7"}, "process 5 of 7, 2 per machine: every machine needs"),
        ({"SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST is empty: set MASTER_ADDR"),
    ],
)
def test_bad_variables_are_named(environment, changes, message):
    environment(SRUN | changes)
    with pytest.raises(InputError, match=message):
        find_launch()


def test_number_of_torchrun_processes_on_a_machine_is_checked(environment):
    values = ("0", "2", "0", "10.0.0.1", "29500")
    environment(dict(zip(TORCHRUN, values, strict=True)) | {"LOCAL_WORLD_SIZE": "0"})
    with pytest.raises(InputError, match="process 0 of 2, 0 per machine"):
        find_launch()


def test_a_process_sees_a_gpu_for_each_process_of_its_machine():
    launch = Launch(5, 8, 1, 4, "a", 1)
    for num_gpus in (0, 4, 8):  # without GPUs, the processes share the CPU
        launch.check_gpus(num_gpus)
    with pytest.raises(
        InputError,
        match=r"^4 processes were started on this machine, but this one sees 1 GPU: start .* see all GPUs of "
        r"its machine, with Slurm by --gpus-per-node=4 instead of --gpus-per-task$",
    ):
        launch.check_gpus(1)
    with pytest.raises(InputError, match="sees 3 GPUs"):
        launch.check_gpus(3)


def test_cores_are_counted_on_every_system(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert count_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert count_cores() == 8
