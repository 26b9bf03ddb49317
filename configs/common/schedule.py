"""Learning rate schedules with a warm-up and two drops."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler


def drop_twice(num_steps, first, second):
    """Return a schedule with 250 steps of warm-up. It divides the rate by 10 at ``first`` and ``second``."""
    return L(WarmupParamScheduler)(
        scheduler=L(MultiStepParamScheduler)(
            values=[1.0, 0.1, 0.01], milestones=[first, second], num_updates=num_steps
        ),
        warmup_length=250 / num_steps,
        warmup_factor=0.001,
    )


# Epochs = steps * 64 images per step / 118,000 images of COCO.
STEPS_36_EPOCHS = 67_500
STEPS_50_EPOCHS = 92_187
STEPS_100_EPOCHS = 184_375

lr_multiplier_36_epochs = drop_twice(STEPS_36_EPOCHS, 52_500, 62_500)
lr_multiplier_50_epochs = drop_twice(STEPS_50_EPOCHS, 81_944, 88_773)
lr_multiplier_100_epochs = drop_twice(STEPS_100_EPOCHS, 163_889, 177_546)

# LVIS has 100,000 training images.
STEPS_50_EPOCHS_LVIS = 78_125
STEPS_100_EPOCHS_LVIS = 156_250

lr_multiplier_50_epochs_lvis = drop_twice(STEPS_50_EPOCHS_LVIS, 69_444, 75_231)
lr_multiplier_100_epochs_lvis = drop_twice(STEPS_100_EPOCHS_LVIS, 138_889, 150_463)
