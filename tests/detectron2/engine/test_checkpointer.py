"""The checkpoint files of a run: complete files, and the advice for damaged ones."""

import re

import pytest
import torch

from mvit_det.detectron2.engine.checkpointer import Checkpointer, periodic_checkpoints, read_last_checkpoint
from mvit_det.errors import InputError
from mvit_det.report.run_folder import last_checkpoint


class Steps:
    """The part of a trainer that a checkpoint contains."""

    def __init__(self):
        self.iteration = 0

    def state_dict(self):
        return {"iteration": self.iteration}


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with checkpoints after 2, 4 and 6 steps."""
    trainer = Steps()
    checkpointer = Checkpointer(torch.nn.Linear(30, 30), str(tmp_path), config={}, trainer=trainer)
    for trainer.iteration in (1, 3, 5):
        checkpointer.save(f"model_{trainer.iteration:07d}", iteration=trainer.iteration)
    torch.save({"model": {}, "iteration": 5}, tmp_path / "model_best.pth")
    return tmp_path


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_files_are_those_of_detectron2(folder):
    names = [f"model_000000{step}.pth" for step in (1, 3, 5)]
    assert sorted(path.name for path in folder.iterdir()) == ["last_checkpoint", *names, "model_best.pth"]
    assert (folder / "last_checkpoint").read_text() == names[-1]
    path, content = read_last_checkpoint(folder)
    assert path == folder / names[-1]
    assert sorted(content) == ["iteration", "model", "trainer"]
    assert sorted(content["model"]) == ["bias", "weight"]


def test_folder_without_a_run_has_no_checkpoint(tmp_path):
    assert read_last_checkpoint(tmp_path) is None


@pytest.mark.parametrize("fault", ["damaged", "missing", "unnamed", "weights"])
def test_the_advice_for_a_checkpoint_that_cannot_be_used_works(folder, fault):
    marker, last = folder / "last_checkpoint", folder / "model_0000005.pth"
    expected = "model_0000003.pth"
    if fault == "damaged":
        damage(last)
        reason = rf"{last}: is damaged: the checksum of .* is wrong; {marker} names this file"
    elif fault == "missing":
        last.unlink()
        reason = rf"{last}: no such file; {marker} names this file"
    elif fault == "unnamed":
        marker.write_text("")
        reason, expected = f"{marker}: names no checkpoint", last.name
    else:
        marker.write_text("model_best.pth\n")
        reason, expected = f"{folder / 'model_best.pth'}: holds only weights", last.name
    with pytest.raises(InputError, match=reason) as caught:
        read_last_checkpoint(folder)
    name, path = re.search(r"echo (\S+) > (\S+)$", str(caught.value)).groups()
    assert name == expected
    assert path == str(marker)
    marker.write_text(f"{name}\n")
    assert read_last_checkpoint(folder)[0] == folder / expected


def test_the_best_weights_are_not_offered_for_resuming(folder):
    for path in folder.glob("model_0*.pth"):
        damage(path)
    with pytest.raises(InputError, match=r"the run cannot be resumed; .*model_best.pth holds only weights"):
        read_last_checkpoint(folder)
    (folder / "model_best.pth").unlink()
    with pytest.raises(InputError, match="cannot be resumed, because it has no other checkpoint"):
        read_last_checkpoint(folder)


def test_checkpoints_behind_the_last_one_are_not_counted(folder):
    """They will be written again by the resumed run."""
    assert len(periodic_checkpoints(folder)) == 3
    (folder / "last_checkpoint").write_text("model_0000003.pth")
    assert [path.name for path in periodic_checkpoints(folder)] == ["model_0000001.pth", "model_0000003.pth"]
    (folder / "last_checkpoint").write_text("model_final.pth")
    assert len(periodic_checkpoints(folder)) == 3


def test_a_run_killed_before_it_named_its_first_checkpoint_continues_from_it(folder):
    (folder / "last_checkpoint").unlink()
    last = folder / "model_0000005.pth"
    assert read_last_checkpoint(folder)[0] == last_checkpoint(folder) == last
    checkpointer = Checkpointer(torch.nn.Linear(30, 30), str(folder), config={})
    assert checkpointer.has_checkpoint()
    assert checkpointer.get_checkpoint_file() == str(last)


def test_the_last_checkpoint_is_copied_as_it_is(folder):
    trainer = Steps()  # of a resumed run: what it would save differs
    Checkpointer(torch.nn.Linear(30, 30), str(folder), config={}, trainer=trainer).copy_last("model_final")
    last, final = (torch.load(folder / f"model_{name}.pth") for name in ("0000005", "final"))
    assert final["trainer"] == last["trainer"] == {"iteration": 5}
    assert torch.equal(final["model"]["weight"], last["model"]["weight"])
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"
