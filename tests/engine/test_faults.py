import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mvit_det.engine.faults import explained_faults
from mvit_det.errors import RunError


class KillsItsReader(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_loading_process_is_explained():
    expected = (
        r"a loading process \(pid \d+.*\) was killed, most likely because the memory of the machine ran out"
    )
    with pytest.raises(RunError, match=expected), explained_faults():
        list(DataLoader(KillsItsReader(), num_workers=1))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is", "shared memory (/dev/shm) full"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "(pid 7, 8) was killed, most likely"),
        ("DataLoader worker (pid 7) is killed by signal: Segmentation fault. ", "died: Segmentation fault;"),
        ("[/gloo/transport/tcp/pair.cc:5] Connection closed by peer [::1]", "another process of the run"),
    ],
)
def test_messages_of_pytorch_are_explained(message, expected):
    with pytest.raises(RunError) as caught, explained_faults():
        raise RuntimeError(message)
    assert expected in str(caught.value)


def test_memory_that_cannot_be_allocated_is_named():
    with (
        pytest.raises(RunError, match=r"ran out: 1000000000.00 GB more were needed; a smaller"),
        explained_faults(),
    ):
        torch.empty(10**18, dtype=torch.uint8)


def test_other_errors_pass():
    for error in (RuntimeError("shapes differ"), RunError("no space"), ValueError("3")):
        with pytest.raises(type(error), match=str(error)), explained_faults():
            raise error
