"""The average of a weight that is 1, 2, 3, ... after the steps of a run."""

import pytest
import torch

from mvit_det.torchvision.engine.weight_averaging import AveragedWeights, BestAverage
from tests.torchvision.engine.tiny_run import fit

# The first update copies the weight. Then the decay is min(0.5, (1 + n) / (10 + n)) after n updates:
# 2/11, 3/12, 4/13.
AVERAGES = [1.0]
for weight, decay in ((2, 2 / 11), (3, 3 / 12), (4, 4 / 13)):
    AVERAGES.append(decay * AVERAGES[-1] + (1 - decay) * weight)


def run(folder, epochs, ckpt_path=None):
    average = AveragedWeights(0.5)
    best = BestAverage(
        average,
        dirpath=folder,
        filename="best",
        monitor="val/box_AP",
        mode="max",
        save_weights_only=True,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    return fit(folder, [average, best], [1, 3, 2, 2, 0], max_epochs=epochs, ckpt_path=ckpt_path)


def load(path):
    return torch.load(path, weights_only=True)


def test_the_average_is_evaluated_and_kept(tmp_path):
    module, trainer = run(tmp_path, 4)
    assert module.evaluated_weights == pytest.approx(AVERAGES)
    assert load(tmp_path / "best.ckpt")["state_dict"]["weight"].item() == pytest.approx(AVERAGES[1])
    last = load(tmp_path / "last.ckpt")
    assert last["state_dict"]["weight"].item() == pytest.approx(AVERAGES[3])
    assert last["current_model_state"]["weight"].item() == 4
    module.weight.data.fill_(7.0)  # such as the weights of the best checkpoint
    trainer.validate(module, trainer.val_dataloaders, verbose=False)
    assert module.evaluated_weights[-1] == 7.0


def test_a_resumed_run_continues_the_average(tmp_path):
    run(tmp_path, 2)
    module, _ = run(tmp_path, 4, ckpt_path=tmp_path / "last.ckpt")
    assert module.evaluated_weights == pytest.approx(AVERAGES[2:])
    assert load(tmp_path / "last.ckpt")["current_model_state"]["weight"].item() == 4
    assert load(tmp_path / "best.ckpt")["state_dict"]["weight"].item() == pytest.approx(AVERAGES[1])
