"""The checkpoint files of a run: the one before the last, damaged files, and the settings."""

import shutil

import pytest
import torch

from mvit_det.data.checked_json import write_checked_json
from mvit_det.data.json_files import write_json
from mvit_det.errors import InputError
from mvit_det.torchvision.engine.checkpoint_files import (
    CheckpointFiles,
    first_checkpoints_size,
    read_last_checkpoint,
    read_settings,
)
from mvit_det.weights import save


def checkpoint(step):
    return {"state_dict": {"a": torch.full((1000,), step)}, "optimizer_states": [], "global_step": step}


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with three checkpoints, the last two of which are left."""
    for step in (1, 2, 3):
        CheckpointFiles().save_checkpoint(checkpoint(step), str(tmp_path / "last.ckpt"))
    CheckpointFiles().save_checkpoint(checkpoint(1), tmp_path / "best.ckpt")
    return tmp_path


def damage(path, position=0.5):
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)


def test_the_checkpoint_before_the_last_is_kept(folder):
    steps = {path.name: torch.load(path)["global_step"] for path in folder.iterdir()}
    assert steps == {"last.ckpt": 3, "previous.ckpt": 2, "best.ckpt": 1}
    assert read_last_checkpoint(folder)["global_step"] == 3


@pytest.mark.parametrize("is_damaged", [True, False], ids=["damaged", "missing"])
def test_the_advice_for_a_last_checkpoint_that_cannot_be_read_works(folder, is_damaged):
    last, previous = folder / "last.ckpt", folder / "previous.ckpt"
    damage(last) if is_damaged else last.unlink()
    reason = "is damaged: the checksum of 'archive/data/0' is wrong" if is_damaged else "no such file"
    with pytest.raises(InputError) as caught:
        read_last_checkpoint(folder)
    message = str(caught.value)
    assert message.startswith(f"{last}: {reason}; {previous} is the checkpoint before it, after step 2: ")
    assert message.endswith(f"mv {previous} {last}")
    shutil.move(previous, last)
    assert read_last_checkpoint(folder)["global_step"] == 2


def test_a_damaged_checkpoint_is_not_offered(folder):
    damage(folder / "last.ckpt")
    damage(folder / "previous.ckpt")
    with pytest.raises(InputError, match=r"last.ckpt: .*cannot be used either: .*previous.ckpt: is damaged"):
        read_last_checkpoint(folder)


def test_weights_alone_cannot_be_resumed(folder):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, folder / "last.ckpt")
    (folder / "previous.ckpt").unlink()
    with pytest.raises(InputError, match=r"last.ckpt: holds only weights; expected the last.ckpt"):
        read_last_checkpoint(folder)


def test_the_checkpoint_before_the_last_makes_room_on_a_full_disk(folder, monkeypatch):
    """The disk then has space for the file that is written, but not for a third one."""
    previous = folder / "previous.ckpt"
    seen = []
    replaced_file = save.replaced_file
    monkeypatch.setattr(save, "free_bytes", lambda path: 100)
    monkeypatch.setattr(
        save,
        "replaced_file",
        lambda *args, **keys: seen.append(previous.exists()) or replaced_file(*args, **keys),
    )
    CheckpointFiles().save_checkpoint(checkpoint(4), folder / "last.ckpt")
    assert seen == [False]
    assert torch.load(previous)["global_step"] == 3
    assert torch.load(folder / "last.ckpt")["global_step"] == 4


def test_the_sizes_of_the_first_checkpoints_are_known_before_training(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.BatchNorm1d(300))
    model[1].weight.requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter for parameter in model.parameters() if parameter.requires_grad)
    model(torch.rand(2, 300)).sum().backward()
    optimizer.step()
    content = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}
    CheckpointFiles().save_checkpoint(content, tmp_path / "last.ckpt")
    CheckpointFiles().save_checkpoint({"state_dict": model.state_dict()}, tmp_path / "best.ckpt")
    sizes = [(tmp_path / name).stat().st_size for name in ("last.ckpt", "best.ckpt")]
    assert first_checkpoints_size(model, keep_best=False) == pytest.approx(sizes[0], rel=0.02)
    assert first_checkpoints_size(model, keep_best=True) == pytest.approx(sum(sizes), rel=0.02)
    assert save.content_size(content) >= sizes[0]


SETTINGS = {"options": {"ema": None, "lr": 0.1}, "schedule": {"explanation": "1 step"}}


def test_settings_are_tested_and_those_without_a_checksum_are_read(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, SETTINGS)  # as earlier versions do
    assert read_settings(tmp_path) == SETTINGS
    write_checked_json(path, SETTINGS)
    assert read_settings(tmp_path) == SETTINGS
    text = path.read_text()
    for damaged, reason in (
        (text.replace("0.1", "0.2"), "is damaged: its content does not match its checksum"),
        (text[:-20], "is not JSON"),
        ("{}", "is damaged: it lacks the options or the schedule"),
        (None, "no such file"),
    ):
        path.unlink() if damaged is None else path.write_text(damaged)
        with pytest.raises(InputError, match=rf"run.json: {reason}.*; the run cannot be resumed without"):
            read_settings(tmp_path)
