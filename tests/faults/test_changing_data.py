"""Images that are removed or changed, by another program or a disk that fails, while a run reads them."""

import importlib
import logging
import re
import shutil
import sys

import pytest
from PIL import Image

from mvit_det.data.shapes import write_shapes
from mvit_det.errors import one_line_errors
from mvit_det.report.run_folder import last_checkpoint
from tests.faults.integrations import (
    INTEGRATIONS,
    IS_LONG,
    Detectron2,
    Torchvision,
    only_long,
    reset_logs,
)
from tests.faults.kill_and_resume import compare

pytestmark = pytest.mark.slow

# Integration -> the functions that are called in a step of training, in the evaluation after training, and in
# an evaluation of its own; and in which of their calls.
STEP = {
    "torchvision": ("mvit_det.torchvision.engine.lightning_module", "DetectorModule.training_step"),
    "detectron2": ("mvit_det.detectron2.engine.trainer", "Trainer._losses"),
}
FINAL_EVALUATION = {
    "torchvision": ("mvit_det.torchvision.train", "evaluate_module", 1),
    "detectron2": ("mvit_det.detectron2.engine.evaluation", "inference_on_dataset", 2),
}
EVALUATION = {
    "torchvision": ("mvit_det.torchvision.evaluate", "evaluate_module", 1),
    "detectron2": ("mvit_det.detectron2.engine.evaluation", "inference_on_dataset", 1),
}
DAMAGES = {
    "removed": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "of another size": lambda path: Image.new("RGB", (50, 40)).save(path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "not an image": lambda path: path.write_bytes(b"garbage"),
}
SKIPPED = "; another image is used in its place (1 image so far)"
UNCOUNTED = "; the evaluation counts it as an image without detections (1 image so far)"


class Runs:
    """Runs of one integration in this process."""

    def __init__(self, integration, folder, capfd, *, workers=0, drop_invalid=False):
        self.integration, self.folder, self.capfd = integration, folder, capfd
        write_shapes(folder / "data", num_train=6, num_val=3)
        if integration == "torchvision":
            options = ["--batch-size", "1", "--accumulate", "2", "--workers", workers, "--save-every", "99"]
            options += ["--epochs", "2"]
            self.kind = Torchvision(folder / "data", options + ["--drop-invalid"] * drop_invalid)
        else:
            options = ["train.checkpointer.period=99", f"data.drop_invalid={drop_invalid}"]
            # Four epochs: two workers load four batches ahead of the step in which an image is damaged.
            options += ["train.max_iter=12", "train.eval_period=6"]
            options += [f"dataloader.{name}.num_workers={workers}" for name in ("train", "test")]
            self.kind = Detectron2(folder / "data", options)
        (self.train_image,) = (folder / "data/images").glob("train_*3.*")
        (self.val_image,) = (folder / "data/images").glob("val_*1.*")

    def run(self, out, *, resume=False):
        """Train to the end; return the exit status, and what is on the terminal."""
        return self.call(self.kind.main, self.kind.command(self.folder / out, resume=resume))

    def call(self, main, arguments):
        reset_logs()
        self.capfd.readouterr()
        try:
            with one_line_errors("train_net.py"):
                main(arguments)
            status = 0
        except SystemExit as caught:
            status = caught.code
        finally:
            reset_logs()
        captured = self.capfd.readouterr()
        shown = captured.out + captured.err
        assert "Traceback" not in shown, shown
        return status, shown


@pytest.fixture
def damage_in(monkeypatch):
    """Return a function that damages an image when a function is called for the n-th time."""

    def damage_in_call(module, path, call, damage, patch=monkeypatch):
        owner, calls = importlib.import_module(module), []
        *classes, name = path.split(".")
        for part in classes:
            owner = getattr(owner, part)
        function = getattr(owner, name)

        def damaging(*args, **kwargs):
            calls.append(1)
            if len(calls) == call:
                damage()
            return function(*args, **kwargs)

        patch.setattr(owner, name, damaging)

    monkeypatch.setattr(sys, "argv", ["train_net.py"])
    logging.getLogger().addHandler(logging.lastResort)  # which Python uses where pytest sets no handler
    yield damage_in_call
    logging.getLogger().removeHandler(logging.lastResort)


def the_error(shown):
    """Return the only line of an error, without the name of the program."""
    (line,) = re.findall(r"^(?:mvit-det|train_net\.py): error: (.*)$", shown, re.MULTILINE)
    return line


@pytest.mark.parametrize("integration", INTEGRATIONS)
@pytest.mark.parametrize(
    ("how", "workers"),
    [(how, workers) for how in DAMAGES for workers in (0, 2)] if IS_LONG else [("of another size", 2)],
)
def test_a_run_ends_with_a_checkpoint_and_resumes_exactly(
    integration, how, workers, tmp_path, capfd, damage_in
):
    runs = Runs(integration, tmp_path, capfd, workers=workers)
    assert runs.run("expected")[0] == 0
    image, kept = runs.train_image, tmp_path / "kept"
    shutil.copy(image, kept)
    damage_in(*STEP[integration], 3, lambda: DAMAGES[how](image))
    status, shown = runs.run("run")
    line = the_error(shown)
    assert status == 2
    assert line.startswith(f"{image}: ")
    assert re.search(
        rf"; saved {last_checkpoint(tmp_path / 'run')} after step \d+; to continue: .*--resume", line
    )
    if image.is_dir():
        image.rmdir()
    shutil.copy(kept, image)
    status, shown = runs.run("run", resume=True)
    assert status == 0, shown
    assert compare(runs.kind, tmp_path / "run", tmp_path / "expected") == []


@pytest.mark.parametrize("integration", INTEGRATIONS)
@pytest.mark.parametrize("workers", [pytest.param(0, marks=only_long), 2])
def test_an_image_is_skipped_and_counted(integration, workers, tmp_path, capfd, damage_in):
    runs = Runs(integration, tmp_path, capfd, workers=workers, drop_invalid=True)

    def damage():
        runs.train_image.unlink()
        runs.val_image.unlink()

    damage_in(*STEP[integration], 1, damage)
    status, shown = runs.run("run")
    assert status == 0, shown
    assert shown.count(f"{runs.train_image}: no such image{SKIPPED}") == 1
    evaluations = {"torchvision": 1, "detectron2": 2}[integration]  # each has a loader in Detectron2
    assert shown.count(f"{runs.val_image}: no such image{UNCOUNTED}") == evaluations


@only_long
@pytest.mark.parametrize("integration", INTEGRATIONS)
@pytest.mark.parametrize("drop_invalid", [False, True])
def test_a_folder_that_is_gone_ends_the_run(integration, drop_invalid, tmp_path, capfd, damage_in):
    runs = Runs(integration, tmp_path, capfd, workers=2, drop_invalid=drop_invalid)
    images = runs.train_image.parent
    damage_in(*STEP[integration], 3, lambda: images.rename(images.with_name("unmounted")))
    status, shown = runs.run("run")
    assert status == 2
    line = the_error(shown)
    assert re.search(r": no such image; .*(saved|the last checkpoint is) .*; to continue: ", line), line
    assert last_checkpoint(tmp_path / "run") is not None
    images.with_name("unmounted").rename(images)
    assert runs.run("run", resume=True)[0] == 0


@pytest.mark.parametrize("integration", INTEGRATIONS)
@pytest.mark.parametrize("is_first", [True, pytest.param(False, marks=only_long)], ids=["first", "last"])
def test_an_evaluation_of_a_run_ends_in_one_line(integration, is_first, tmp_path, capfd, damage_in):
    runs = Runs(integration, tmp_path, capfd, workers=2 * is_first)
    if is_first:
        damage_in(*STEP[integration], 1, lambda: DAMAGES["of another size"](runs.val_image))
    else:
        damage_in(*FINAL_EVALUATION[integration], lambda: DAMAGES["truncated"](runs.val_image))
    status, shown = runs.run("run")
    assert status == 2
    line = the_error(shown)
    assert line.startswith(f"{runs.val_image}: ")
    assert f"{last_checkpoint(tmp_path / 'run')}" in line
    assert "; to continue: " in line


@only_long
@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_an_evaluation_of_its_own_ends_in_one_line(integration, tmp_path, capfd, damage_in):
    runs = Runs(integration, tmp_path, capfd, workers=2)
    checkpoint = tmp_path / "best.pth"
    assert runs.run("run")[0] == 0
    shutil.copy(tmp_path / "run" / runs.kind.checkpoints[1], checkpoint)
    kept = shutil.copy(runs.val_image, tmp_path / "kept")
    for drop_invalid in (False, True):
        command = ["eval", "--checkpoint", checkpoint, "--data", tmp_path / "data", "--workers", 2]
        command += ["--out", tmp_path / "out", "--overwrite", *["--drop-invalid"] * drop_invalid]
        if integration == "detectron2":
            overrides = [f"train.init_checkpoint={checkpoint}", f"data.drop_invalid={drop_invalid}"]
            command = runs.kind.command(tmp_path / "out", *overrides, flags=["--eval-only"])
        with pytest.MonkeyPatch.context() as patch:
            damage_in(*EVALUATION[integration], runs.val_image.unlink, patch)
            status, shown = runs.call(runs.kind.main, [str(argument) for argument in command])
        shutil.copy(kept, runs.val_image)
        if drop_invalid:
            assert status == 0, shown
            assert shown.count(f"{runs.val_image}: no such image{UNCOUNTED}") == 1
        else:
            assert status == 2
            assert the_error(shown) == f"{runs.val_image}: no such image"


@only_long
def test_a_prediction_ends_in_one_line(tmp_path, capfd, damage_in):
    runs = Runs("torchvision", tmp_path, capfd)
    assert runs.run("run")[0] == 0
    damage_in("mvit_det.data.frames", "_read", 1, runs.val_image.unlink)  # which is read later
    command = ["predict", runs.val_image.parent, "--checkpoint", tmp_path / "run", "--out", tmp_path / "out"]
    status, shown = runs.call(runs.kind.main, [str(argument) for argument in command])
    assert status == 1
    assert shown.count(f"{runs.val_image}: no such image; left out") == 1
    assert the_error(shown) == "1 image of 9 could not be read; see above"
