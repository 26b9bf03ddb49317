import pytest
import torch

from mvit_det.torchvision.engine.schedule import WEIGHT_DECAY, build_optimizer, plan
from mvit_det.torchvision.models.detector import build_detector


def test_the_reference_recipe():
    schedule = plan("mvitv2_t", num_images=120_000, epochs=36, batch_size=8, devices=8)
    assert schedule.steps == 67_500
    assert schedule.lr == pytest.approx(1.6e-4)
    assert schedule.drop_steps == (52_500, 62_500)
    assert schedule.warmup_steps == 250
    assert schedule.factor(0) == 0.001
    assert schedule.factor(125) == pytest.approx(0.5005)
    assert [schedule.factor(s) for s in (250, 52_499, 52_500, 62_500)] == pytest.approx([1, 1, 0.1, 0.01])


def test_rate_and_steps_follow_from_the_batch_and_are_explained():
    schedule = plan("mvitv2_t", num_images=96, epochs=10, batch_size=2, devices=2, accumulate=3)
    assert schedule.steps == 80
    assert schedule.warmup_steps == 8
    assert schedule.lr == pytest.approx(1.6e-4 * 12 / 64)
    assert "12 pictures a step = 2 a batch x 2 devices x 3 accumulated" in schedule.explanation
    assert "80 steps = 10 epochs of 96 pictures / 12" in schedule.explanation
    assert "learning rate 3e-05 = 0.00016 x 12/64 pictures a step" in schedule.explanation


def test_a_given_rate_is_taken_as_it_is():
    schedule = plan("mvitv2_t", num_images=9, epochs=1, batch_size=4, lr=0.5)
    assert (schedule.lr, schedule.steps) == (0.5, 3)
    assert "learning rate 0.5 as given" in schedule.explanation


def test_norms_and_positions_are_not_decayed():
    model = build_detector("mvitv2_nano", 2, cascade=True, backbone={"use_abs_pos": True})
    schedule = plan("mvitv2_nano", num_images=8, epochs=30, batch_size=4)
    optimizer, scheduler = build_optimizer(model, schedule)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        is_norm = isinstance(owner, torch.nn.LayerNorm | torch.nn.BatchNorm2d)
        is_position = name.endswith(("rel_pos_h", "rel_pos_w", "pos_embed"))
        assert decay[id(parameter)] == (0 if is_norm or is_position else WEIGHT_DECAY), name
    rates = []
    for _ in range(schedule.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([schedule.lr * schedule.factor(s) for s in range(60)])
