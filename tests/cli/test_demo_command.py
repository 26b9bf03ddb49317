import pytest

from mvit_det.cli import demo
from tests.cli.commands import assert_rejected, run_command


@pytest.mark.slow
def test_the_demo_writes_data_checkpoints_and_results(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "NUM_TRAIN", 4)
    monkeypatch.setattr(demo, "NUM_VAL", 2)
    run_command("demo", "--out", tmp_path, "--epochs", 1)
    for name in ("metrics.json", "losses.png", "pictures/val_0002.png", "shapes/val.json", "best.ckpt"):
        assert (tmp_path / name).stat().st_size > 0, name
    assert_rejected(capfd, ["demo", "--out", tmp_path], "already holds")
