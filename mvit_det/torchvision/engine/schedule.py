"""The number of steps of a training run, and the learning rate at each step."""

from dataclasses import dataclass

from mvit_det.errors import counted
from mvit_det.recipes import recipe_for, warmup_steps

WARMUP_START = 0.001  # as a fraction of the peak learning rate
DROPS = ((7, 9), (25, 27))  # fractions of the run after which the rate is divided by 10: 52,500 / 67,500, ...


@dataclass(frozen=True)
class Schedule:
    """The schedule of a run, in optimizer steps.

    Attributes:
        lr: peak learning rate.
        epochs: number of epochs in the run.
        steps: number of steps in the run.
        warmup_steps: number of steps over which the learning rate rises to its peak.
        drop_steps: steps at which the learning rate falls to a tenth, and to a hundredth.
        explanation: how these numbers are computed from the options, in one line.
    """

    lr: float
    epochs: int
    steps: int
    warmup_steps: int
    drop_steps: tuple[int, int]
    explanation: str

    def factor(self, step: int) -> float:
        """Return the learning rate at ``step`` as a fraction of ``lr``."""
        if step < self.warmup_steps:
            return WARMUP_START + (1 - WARMUP_START) * step / self.warmup_steps
        return 0.1 ** sum(step >= drop for drop in self.drop_steps)


def plan(
    variant: str,
    *,
    num_images: int,
    epochs: int | None,
    batch_size: int,
    devices: int = 1,
    accumulate: int = 1,
    lr: float | None = None,
) -> Schedule:
    """Compute the schedule of a run from its options.

    Args:
        variant: name in :data:`mvit_det.VARIANTS`.
        num_images: number of training images.
        epochs: number of epochs; None: that of the variant's recipe.
        batch_size: number of images per batch and device.
        devices: number of devices.
        accumulate: number of batches per optimizer step.
        lr: peak learning rate; None scales that of the variant's recipe linearly with the number of images
            per step.

    Source: MViTv2, section 5.2; the linear rule: "Accurate, Large Minibatch SGD", arXiv 1706.02677.
    """
    recipe = recipe_for(variant)
    epochs = recipe.epochs if epochs is None else epochs
    step_images = batch_size * devices * accumulate
    steps = -(-num_images // step_images) * epochs
    if lr is None:
        peak = recipe.lr * step_images / recipe.batch_size
        origin = f"= {recipe.lr:g} x {step_images:,}/{recipe.batch_size} images a step"
    else:
        peak, origin = lr, "as given"
    first, second = (-(-part * steps // whole) for part, whole in DROPS)  # rounded up
    warmup = warmup_steps(steps)
    explanation = (
        f"{counted(step_images, 'image')} a step = {batch_size:,} a batch x {counted(devices, 'device')} x "
        f"{accumulate:,} accumulated; {counted(steps, 'step')} = {counted(epochs, 'epoch')} of "
        f"{counted(num_images, 'image')} / {step_images:,}; learning rate {peak:g} {origin}, "
        f"{counted(warmup, 'step')} of warm-up, a tenth from step {first:,}, "
        f"a hundredth from step {second:,}"
    )
    return Schedule(peak, epochs, steps, warmup, (first, second), explanation)
