"""The learning rate and the number of steps that follow from the batch, and the optimiser."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

# (learning rate, pictures in the step that it was tuned for). The recipe of the released detectors;
# the nano variant, which starts from nothing on a CPU, has its own.
REFERENCE = (1.6e-4, 64)
REFERENCE_OF = {"mvitv2_nano": (1e-3, 4)}

WEIGHT_DECAY = 0.1
WARMUP_STEPS = 250  # at most a tenth of the run
WARMUP_START = 0.001
DROPS = (7 / 9, 25 / 27)  # of the run: 52,500 and 62,500 of 67,500 steps; each divides by 10


@dataclass(frozen=True)
class Schedule:
    """Steps are optimiser steps; ``lr`` is the peak learning rate."""

    lr: float
    steps: int
    warmup_steps: int
    drop_steps: tuple[int, int]
    explanation: str

    def factor(self, step: int) -> float:
        """Return the learning rate at ``step`` as a share of ``lr``."""
        if step < self.warmup_steps:
            return WARMUP_START + (1 - WARMUP_START) * step / self.warmup_steps
        return 0.1 ** sum(step >= drop for drop in self.drop_steps)


def plan(
    variant: str,
    *,
    num_images: int,
    epochs: int,
    batch_size: int,
    devices: int = 1,
    accumulate: int = 1,
    lr: float | None = None,
) -> Schedule:
    """Work out the schedule of a run; ``lr`` overrules the rate that follows from the batch.

    The rate grows linearly with the pictures in a step. Source: MViTv2, section 5.2, and
    "Accurate, Large Minibatch SGD", arXiv 1706.02677, for the linear rule.
    """
    pictures = batch_size * devices * accumulate
    steps = -(-num_images // pictures) * epochs
    reference_lr, reference_pictures = REFERENCE_OF.get(variant, REFERENCE)
    peak = lr if lr is not None else reference_lr * pictures / reference_pictures
    origin = (
        "as given"
        if lr is not None
        else f"= {reference_lr:g} x {pictures}/{reference_pictures} pictures a step"
    )
    drops = (round(DROPS[0] * steps), round(DROPS[1] * steps))
    warmup = min(WARMUP_STEPS, steps // 10)
    explanation = (
        f"{pictures} pictures a step = {batch_size} a batch x {devices} devices x {accumulate} "
        f"accumulated; {steps} steps = {epochs} epochs of {num_images} pictures / {pictures}; "
        f"learning rate {peak:g} {origin}, {warmup} steps of warm-up, a tenth from step {drops[0]}, "
        f"a hundredth from step {drops[1]}"
    )
    return Schedule(peak, steps, warmup, drops, explanation)


def build_optimizer(model: nn.Module, schedule: Schedule) -> tuple[Optimizer, LambdaLR]:
    """Return AdamW and its schedule; norms, absolute and relative positions are not decayed."""
    decayed, exempt = split_by_decay(model)
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": exempt, "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=schedule.lr)
    return optimizer, LambdaLR(optimizer, schedule.factor)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trainable parameters that are decayed, and those that are not."""
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
    exempt = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, norms) or name in ("pos_embed", "rel_pos_h", "rel_pos_w")
    }

    def chosen(is_exempt: bool) -> Iterable[nn.Parameter]:
        return (
            parameter
            for parameter in model.parameters()
            if parameter.requires_grad and (id(parameter) in exempt) == is_exempt
        )

    return list(chosen(False)), list(chosen(True))
