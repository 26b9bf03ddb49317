"""Averaged weights."""

import pytest
import torch

from mvit_det.detectron2.engine.ema import averaged_copy


def test_decay_is_lower_during_the_first_steps():
    model = torch.nn.Linear(1, 1)
    average = averaged_copy(model, decay=0.5)
    values = [0.0, *range(1, 21)]
    expected = values[0]
    for step, value in enumerate(values):
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        if step:
            decay = min(0.5, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected)
