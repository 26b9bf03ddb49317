import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mvit_det.engine.ending import ENDING
from mvit_det.engine.faults import explained_faults
from mvit_det.engine.loading_processes import prepare_loading_process
from mvit_det.errors import InputError, RunError


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


class CannotBeSent:
    def __getitem__(self, index):
        return self

    def __len__(self):
        return 1

    def __reduce__(self):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_batch_that_cannot_be_sent_ends_the_run():
    loader = DataLoader(CannotBeSent(), None, num_workers=1, worker_init_fn=prepare_loading_process)
    with (
        pytest.raises(RunError, match=r"more than \d+ open files are needed; raise the limit"),
        explained_faults(),
    ):
        list(loader)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is", "memory (/dev/shm) is full"),
        ("unable to write to file </torch_7_1_0>: No space left on device (28)", "memory (/dev/shm) is full"),
        ("received 0 items of ancdata", "ulimit -n, or use fewer loading processes"),
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


def raise_while_handling(error, first):
    try:
        raise first
    except Exception:
        raise error  # noqa: B904


def disk_is_full():
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (disk_is_full, lambda: KeyError("another")),
        (lambda: RuntimeError("unexpected pos 3"), disk_is_full),
    ],
    ids=["last", "first"],
)
def test_an_error_of_the_disk_names_the_folder_and_its_space(tmp_path, error, first):
    # New exceptions in each test: Python keeps in an exception what was handled when it was raised.
    with pytest.raises(RunError) as caught, explained_faults(tmp_path):
        raise_while_handling(error(), first())
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}: No space left on device: ")
    assert line.endswith(f" free in {tmp_path}")


def test_the_first_fault_counts():
    """A logger fails while it is closed because a checkpoint could not be written."""
    with pytest.raises(RunError, match="^a.ckpt: cannot be written$"), explained_faults():
        raise_while_handling(disk_is_full(), RunError("a.ckpt: cannot be written"))


def test_a_fault_of_a_run_says_how_to_continue(monkeypatch):
    monkeypatch.setattr(ENDING, "find_checkpoint", lambda: Path("run/last.ckpt"))
    monkeypatch.setattr(ENDING, "resume", "train --resume")
    expected = "full; the last checkpoint is run/last.ckpt; to continue: train --resume"
    with pytest.raises(RunError, match=f"^{expected}$"), explained_faults():
        raise RunError("full")


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("3"), InputError("bad"), KeyboardInterrupt()]
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, explained_faults():
        raise error
    assert caught.value is error
