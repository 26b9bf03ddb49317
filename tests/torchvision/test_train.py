"""Training on a few small images, and resuming from its checkpoints."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mvit_det.data.shapes import write_shapes
from mvit_det.errors import InputError
from mvit_det.report.detections import to_entries
from mvit_det.torchvision.convert import convert
from mvit_det.torchvision.engine.detector_checkpoint import load_detector
from mvit_det.torchvision.engine.lightning_module import DetectorModule
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.evaluate import EvalOptions, evaluate_checkpoint
from mvit_det.torchvision.inference import Detector
from mvit_det.torchvision.train import train
from mvit_det.weights.checkpoint import CONFIG_KEY


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, num_train=2, num_val=1)
    return folder


@pytest.fixture
def options(data, tmp_path):
    return TrainOptions(
        json=data / "train.json",
        images=data / "images",
        variant="mvitv2_nano",
        out=tmp_path / "run",
        epochs=2,
        batch_size=2,
        size=64,
        workers=0,
    )


@pytest.fixture
def interrupted(options, monkeypatch):
    """Options of a run of a cascade that was interrupted in its second epoch."""
    options = replace(options, head="cascade_mask_rcnn")
    step = DetectorModule.training_step

    def step_or_exit(self, *arguments):
        if self.current_epoch == 1:
            raise SystemExit(1)  # as Lightning does on SIGTERM
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(DetectorModule, "training_step", step_or_exit)
        with pytest.raises(KeyboardInterrupt, match=r"the last checkpoint is .*last\.ckpt"):
            train(options)
    return options


def test_a_run_of_an_earlier_version_is_still_usable(interrupted, data, tmp_path):
    """Its configuration has ``cascade`` instead of ``head``, and its schedule is in other words."""
    last = interrupted.out / "last.ckpt"
    content = torch.load(last, weights_only=True)
    assert content[CONFIG_KEY].pop("head") == "cascade_mask_rcnn"
    content[CONFIG_KEY]["cascade"] = True
    torch.save(content, last)
    settings = json.loads((interrupted.out / "run.json").read_text())
    del settings["sha256"]
    settings["schedule"]["explanation"] = (
        "2 pictures a step = 2 a batch x 1 devices x 1 accumulated; 2 steps = 2 epochs of 2 pictures / 2; "
        "learning rate 0.0005 = 0.001 x 2/4 pictures a step, 0 steps of warm-up, a tenth from step 2, "
        "a hundredth from step 2"
    )
    (interrupted.out / "run.json").write_text(json.dumps(settings))

    assert load_detector(last)[1].head == "cascade_mask_rcnn"
    convert(str(last), tmp_path / "detector.safetensors", None)
    assert json.loads((tmp_path / "detector.json").read_text())["head"] == "cascade_mask_rcnn"
    evaluation = EvalOptions(checkpoint=last, data=data, out=tmp_path / "evaluation", workers=0)
    assert set(evaluate_checkpoint(evaluation)) == {"box", "mask"}

    with pytest.raises(InputError, match="trained with head cascade_mask_rcnn, not mask_rcnn"):
        train(replace(interrupted, resume=True, head="mask_rcnn"))
    with pytest.raises(InputError, match="would now be: 4 images a step.*was: 2 pictures a step"):
        train(replace(interrupted, resume=True, accumulate=2))
    train(replace(interrupted, resume=True))
    resumed = torch.load(last, weights_only=True)
    assert resumed["global_step"] == 2
    assert resumed[CONFIG_KEY]["head"] == "cascade_mask_rcnn"


def test_a_run_that_is_interrupted_before_its_first_checkpoint_starts_again(options, monkeypatch, capsys):
    with pytest.raises(InputError, match="run: holds no run that could be resumed"):
        train(replace(options, resume=True))

    def interrupt(*arguments):
        raise SystemExit(1)

    options = replace(options, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(DetectorModule, "training_step", interrupt)
        with pytest.raises(KeyboardInterrupt, match="there is no checkpoint yet"):
            train(options)
    train(replace(options, resume=True))
    assert "the run has no checkpoint yet, and starts again" in capsys.readouterr().err
    assert torch.load(options.out / "last.ckpt", weights_only=True)["global_step"] == 1


def test_a_detector_of_boxes_alone(options, data, capsys):
    options = replace(options, head="faster_rcnn", val_json=data / "val.json")
    assert set(train(options)) == {"box"}
    assert not re.search(r"mask (AP|[0-9])", capsys.readouterr().err)  # neither a metric nor a loss
    assert set(json.loads((options.out / "metrics.json").read_text())) == {"box"}
    assert load_detector(options.out / "best.ckpt")[1].head == "faster_rcnn"
    detector = Detector(options.out / "best.ckpt", min_score=0.0)  # so that it finds something untrained
    image = np.zeros((50, 60, 3), np.uint8)
    detections = detector(image)
    assert len(detections) > 0
    assert not any("segmentation" in entry for entry in to_entries(1, detections))
    assert np.asarray(detector.draw(image, detections)).any()


def test_masks_of_polygons(options, data, tmp_path):
    content = json.loads((data / "train.json").read_text())
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    (tmp_path / "polygons.json").write_text(json.dumps(content))
    train(replace(options, json=tmp_path / "polygons.json", head="mask_rcnn", epochs=1))
    assert (options.out / "last.ckpt").exists()


def test_processes_other_than_the_first_exit_silently_on_an_interrupt(options, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")

    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("mvit_det.torchvision.train.read_train_and_val", interrupt)
    with pytest.raises(SystemExit, match="1"):
        train(options)


def test_a_training_set_whose_objects_were_all_in_dropped_images_is_refused(options, coco_folder):
    image = coco_folder / "images/a.png"  # the other one shows no objects
    image.write_bytes(image.read_bytes()[:100])
    paths = {"json": coco_folder / "data.json", "images": coco_folder / "images", "val_json": None}
    with pytest.raises(InputError, match=r"no object to train on: .* was dropped is .*a\.png: is trunc"):
        train(replace(options, **paths, drop_invalid=True))
    assert not options.out.exists()


def test_bad_options_are_refused_before_anything_is_written(options, data):
    for changes, message in (
        ({"save_every": "10 minutes"}, "save_every '10 minutes': expected a number of steps such as 500"),
        ({"head": "cascade"}, "unknown head 'cascade': did you mean 'cascade_rcnn'"),
        ({"variant": "mvitv2_nana"}, "unknown variant 'mvitv2_nana': did you mean 'mvitv2_nano'"),
        ({"val_images": data / "images"}, "val_images .*: needs val_json"),
    ):
        with pytest.raises(InputError, match=message):
            train(replace(options, **changes))
    assert not options.out.exists()
