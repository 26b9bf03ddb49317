"""The position at which a resumed run continues, and the random numbers that follow from it."""

from pathlib import Path
from typing import Any

import lightning as L

from mvit_det.engine.seeding import seed_generators
from mvit_det.torchvision.data.batching import AspectRatioBatchSampler
from mvit_det.torchvision.engine.evaluation_schedule import evaluated_epochs
from mvit_det.torchvision.engine.log_files import remove_repeated_steps

Progress = dict[str, Any]  # Lightning's counts of batches or epochs: "total" of the run, "current" of a loop


class SeededBatches(L.Callback):
    """Makes the random numbers of a training batch depend only on the seed, the batch and the process."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Keys are padded with zeros, and those of the augmentation are (seed, position): hence the 1.
        seed_generators(self.seed, trainer.current_epoch, batch_idx, 1 + trainer.global_rank)


class Resumption(L.Callback):
    """Makes a resumed run continue after the optimizer step of its checkpoint, which may be within an epoch.

    It sets the position in the training data, repeats an evaluation that was cut off, and removes from the
    logs what the resumed run logs again.

    Args:
        sampler: the sampler of the training batches.
        logs: folder of the logs of the run.
    """

    def __init__(self, sampler: AspectRatioBatchSampler, logs: Path) -> None:
        self.sampler, self.logs = sampler, logs

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        step = checkpoint["global_step"]
        num_batches = step * trainer.accumulate_grad_batches
        self.sampler.skip(num_batches)
        loops = checkpoint["loops"]["fit_loop"]
        epochs = loops["epoch_progress"]["current"]
        num_epochs, num_in_epoch = divmod(num_batches, len(self.sampler))
        evaluates = False
        if epochs["processed"] < epochs["ready"]:  # saved before Lightning counted the epoch as processed
            evaluates = num_in_epoch == 0 and _is_evaluated(trainer, num_epochs)
            if num_in_epoch > 0 or evaluates:
                done = {"total": num_batches, "current": num_in_epoch or len(self.sampler)}
                _set_batches(loops["epoch_loop.batch_progress"], done, is_last=evaluates)
            else:
                _set_processed(loops["epoch_progress"])
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] = step - evaluates
            if evaluates:
                _repeat_evaluation(loops["epoch_loop.val_loop.batch_progress"])
        if trainer.is_global_zero:
            remove_repeated_steps(self.logs, step, evaluates=evaluates)


def _is_evaluated(trainer: L.Trainer, epoch: int) -> bool:
    """Return whether the run is evaluated after ``epoch`` epochs."""
    epochs, interval = trainer.max_epochs, trainer.check_val_every_n_epoch
    assert epochs is not None
    assert interval is not None
    return bool(trainer.enable_validation) and epoch in evaluated_epochs(epochs, interval)


def _set_batches(progress: Progress, done: dict[str, int], *, is_last: bool) -> None:
    """Set all counts to the number of batches before the last optimizer step.

    Others may have been ready, or had their gradients accumulated, when the state was saved.
    """
    for name, number in done.items():
        progress[name].update(dict.fromkeys(progress[name], number))
    progress["is_last_batch"] = is_last


def _set_processed(progress: Progress) -> None:
    """Count one more epoch as processed."""
    for count in progress.values():
        count["processed"] += 1


def _repeat_evaluation(progress: Progress) -> None:
    """Make Lightning repeat the evaluation, as it does if a batch has started and none is processed."""
    progress["total"].update(ready=1, started=1, processed=0, completed=0)
