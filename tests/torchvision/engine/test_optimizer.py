import pytest
import torch

from mvit_det.torchvision.engine.optimizer import WEIGHT_DECAY, build_optimizer
from mvit_det.torchvision.engine.schedule import plan
from mvit_det.torchvision.models.detector import build_detector


def test_norms_and_positions_have_no_weight_decay():
    model = build_detector("mvitv2_nano", 2, "cascade_mask_rcnn", backbone={"use_abs_pos": True})
    schedule = plan("mvitv2_nano", num_images=8, epochs=30, batch_size=4)
    optimizer, _ = build_optimizer(model, schedule)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        is_norm = isinstance(owner, torch.nn.LayerNorm | torch.nn.BatchNorm2d)
        is_position = name.endswith(("rel_pos_h", "rel_pos_w", "pos_embed"))
        assert decay[id(parameter)] == (0 if is_norm or is_position else WEIGHT_DECAY), name


def test_the_learning_rate_follows_the_schedule():
    schedule = plan("mvitv2_nano", num_images=8, epochs=30, batch_size=4)
    optimizer, scheduler = build_optimizer(torch.nn.Linear(2, 2), schedule)
    rates = []
    for _ in range(schedule.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([schedule.lr * schedule.factor(s) for s in range(60)])
