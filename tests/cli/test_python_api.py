"""The commands as functions."""

import json

import pytest

import mvit_det
from mvit_det.errors import InputError


@pytest.mark.slow
def test_a_detector_is_trained_evaluated_and_used(data, tmp_path):
    options = {"json": data / "train.json", "images": str(data / "images"), "out": tmp_path / "run"}
    options |= {"val_json": data / "val.json", "size": 64, "epochs": 1, "batch_size": 2, "draw": 0}
    run = mvit_det.train("mvitv2_nano", **options, workers=0, lr=None, cascade=False)
    assert (run.best, run.last) == (tmp_path / "run" / "best.ckpt", tmp_path / "run" / "last.ckpt")
    assert json.loads((run.folder / "metrics.json").read_text()) == run.metrics
    files = {"json": data / "val.json", "images": data / "images"}
    metrics = mvit_det.evaluate(run.folder, **files, out=tmp_path / "eval", draw=0)
    assert metrics == run.metrics
    detector = mvit_det.Detector(run.best)
    assert list(detector.categories.values()) == ["circle", "square", "triangle"]
    with pytest.raises(InputError, match="already holds"):
        mvit_det.train("mvitv2_nano", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0, "data": "x"}, "^epochs: 0 must be above 0"),
        ({"epoch": 3}, r"^unknown option 'epoch': did you mean 'epochs'\?"),
        ({"batch_size": -1}, "^batch_size: -1 must be above 0"),
        ({"draw": False}, "^draw: invalid int value: 'False'"),
        ({"precision": "half"}, "^precision: invalid choice: 'half'"),
        ({}, "^one of the arguments data json is required"),
    ],
)
def test_an_option_that_is_not_valid_is_named(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        mvit_det.train("mvitv2_nano", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
