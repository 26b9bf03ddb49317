"""The moving average of the weights: it is evaluated, and kept in the checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging

from mvit_det.engine.averaging import ema_update


class AveragedWeights(WeightAveraging):
    """Keeps an exponential moving average of the weights, with which validation runs.

    A full checkpoint contains the average as its ``state_dict``, and the weights that training continues from
    besides it.

    Args:
        decay: see :func:`mvit_det.engine.averaging.ema_update`.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, multi_avg_fn=ema_update(decay))

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        self._device = trainer.strategy.root_device  # the module moves there after this hook
        # The callback copies the whole module; the copy needs no ground truth, which can be large.
        truth, pl_module.truth = pl_module.truth, None
        super().setup(trainer, pl_module, stage)
        pl_module.truth = truth

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._average_model = None  # a later validation uses the weights that the module then has

    @contextmanager
    def swapped(self, module: L.LightningModule) -> Iterator[None]:
        """Return a context in which ``module`` has the averaged weights."""
        self._swap_models(module)
        yield
        self._swap_models(module)


class BestAverage(ModelCheckpoint):
    """A ``ModelCheckpoint`` of weights alone that saves the averaged weights.

    Lightning does not call :class:`AveragedWeights` for a checkpoint of weights alone.

    Args:
        average: holds the averaged weights.
        **kwargs: keywords of ``ModelCheckpoint``, which save at the end of a validation.
    """

    def __init__(self, average: AveragedWeights, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.average = average

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit":  # the average no longer exists
            return
        with self.average.swapped(pl_module):
            super().on_validation_end(trainer, pl_module)
