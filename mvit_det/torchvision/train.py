"""Training of a detector on a data set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN

from mvit_det.data.average_precision import Metrics
from mvit_det.data.dataset import Dataset
from mvit_det.data.sources import check_has_objects, read_train_and_val
from mvit_det.engine.ending import resumable
from mvit_det.engine.faults import explained_faults
from mvit_det.engine.run_lock import run_lock
from mvit_det.engine.slurm import is_requeued
from mvit_det.engine.trackers import check_tracker
from mvit_det.errors import InputError, out_of_memory_summary
from mvit_det.files import check_space, remove_temporary_files
from mvit_det.heads import HEADS, select_head
from mvit_det.recipes import recipe_for, scaled_long_side
from mvit_det.report import run_folder
from mvit_det.report.console import check_images_with_progress, print_line
from mvit_det.report.curves import draw_curves
from mvit_det.report.data_problems import report_data
from mvit_det.torchvision.data.augmentation import build_augmentation
from mvit_det.torchvision.data.batching import AspectRatioBatchSampler
from mvit_det.torchvision.data.loaders import build_train_loader, build_val_loader
from mvit_det.torchvision.engine.checkpoint_files import first_checkpoints_size
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig
from mvit_det.torchvision.engine.last_checkpoint import SaveInterval
from mvit_det.torchvision.engine.lightning_module import DetectorModule
from mvit_det.torchvision.engine.lightning_trainer import build_fitting_trainer
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.engine.processes import Processes, build_console, find_processes, single_error
from mvit_det.torchvision.engine.resume import check_resume, has_checkpoint, write_settings
from mvit_det.torchvision.engine.schedule import Schedule, plan
from mvit_det.torchvision.evaluate import evaluate_module
from mvit_det.weights import Checkpoint, load_all_weights, load_checkpoint, local_file, read_checkpoint

# The files of a run, which a new run replaces.
FILES = run_folder.TRAINING_FILES + run_folder.RESULT_FILES


@single_error()
def train(options: TrainOptions) -> Metrics:
    """Train a detector and, if there is a validation set, evaluate its best checkpoint.

    Returns:
        The metrics of the best checkpoint; empty without a validation set.

    Raises:
        InputError: if an input cannot be used, in which case nothing is written; if a loss is not finite; or
            if the GPU runs out of memory.
        KeyboardInterrupt: on Ctrl-C or SIGTERM; the message says how to continue the run.
    """
    console = build_console()
    processes = find_processes(options.devices, options.num_nodes)
    check_tracker(options.logger)
    SaveInterval.parse(options.save_every)
    if is_requeued() and (options.out / run_folder.SETTINGS).is_file():
        options = replace(options, resume=True, overwrite=False)
    if options.resume and not has_checkpoint(options.out):
        console.print("the run has no checkpoint yet, and starts again", highlight=False)
        options = replace(options, resume=False, overwrite=True)
    start = read_checkpoint(local_file(options.weights)) if options.weights is not None else None
    train_set, val_set = _read_data(options, processes, console)
    head, explanation = select_head(options.head, train_set.num_objects, train_set.num_masks)
    config = _build_config(options, head, train_set, start)
    schedule = plan(
        options.variant,
        num_images=len(train_set.coco.imgs),
        epochs=options.epochs,
        batch_size=options.batch_size,
        devices=processes.world_size,
        accumulate=options.accumulate,
        lr=options.lr,
    )
    train_loader, val_loader = _build_loaders(options, config, processes, train_set, val_set)
    detector = _build_detector(options, config, start, console)
    del start  # frees its weights
    with _running(options, processes, console):
        if processes.rank == 0:
            checkpoint_bytes = first_checkpoints_size(detector, keep_best=val_set is not None)
            _prepare_folder(options, config, schedule, train_set, checkpoint_bytes)
            datasets = [train_set] if val_set is None else [train_set, val_set]
            for line in report_data(datasets, options.out, drop_invalid=options.drop_invalid):
                console.print(line, highlight=False, soft_wrap=True)
        console.print(f"{explanation}\n{schedule.explanation}", highlight=False, soft_wrap=True)
        if processes.devices > 1 and not torch.cuda.is_available():
            console.print(
                f"no GPU: {processes.devices} processes share the CPU of a machine", highlight=False
            )

        module = DetectorModule(config, detector, val_set.coco if val_set else None, schedule)
        sampler = train_loader.batch_sampler
        assert isinstance(sampler, AspectRatioBatchSampler)
        trainer = build_fitting_trainer(
            options,
            schedule,
            sampler,
            keep_best=val_set is not None,
            processes=processes,
            console=console,
        )
        last, best = options.out / run_folder.LAST, options.out / run_folder.BEST
        with _explained_errors(options, last), explained_faults():
            ckpt_path = last if options.resume else None
            trainer.fit(module, train_loader, val_loader, ckpt_path=ckpt_path, weights_only=True)

        if trainer.is_global_zero:
            draw_curves(options.out / run_folder.LOGS, options.out / run_folder.CURVES)
        if val_set is None or val_loader is None:
            console.print(f"wrote {last}; there is no validation set to evaluate it on", highlight=False)
            return {}
        load_all_weights(module.detector, read_checkpoint(best))
        console.print(f"wrote {best} and {last}", highlight=False, soft_wrap=True)
        return evaluate_module(
            module,
            trainer,
            val_loader,
            images=val_set.images,
            out=options.out,
            num_drawings=options.draw,
            console=console,
        )


def _read_data(
    options: TrainOptions, processes: Processes, console: Console
) -> tuple[Dataset, Dataset | None]:
    """Read the training set and the validation set with all their images, before anything is written.

    Every process reads them, and finds the same entries to drop.
    """
    if processes.rank == 0:
        _check_output(options)
    train_set, val_set = read_train_and_val(
        options.data,
        options.json,
        options.images,
        options.val_json,
        options.val_images,
        drop_invalid=options.drop_invalid,
    )
    if val_set is None and options.patience is not None:
        raise InputError(f"patience {options.patience}: needs a validation set")
    train_set = check_images_with_progress(train_set, console, drop_invalid=options.drop_invalid)
    check_has_objects(train_set)  # again: all objects may have been in images that were dropped
    if val_set is not None:
        val_set = check_images_with_progress(val_set, console, drop_invalid=options.drop_invalid)
    return train_set, val_set


def _check_output(options: TrainOptions) -> None:
    """Check that a new run may write to its folder."""
    if options.resume:
        return
    weights = local_file(options.weights) if options.weights is not None else None
    paths = (options.data, options.json, options.images, options.val_json, options.val_images, weights)
    inputs = [path for path in paths if path is not None]
    run_folder.check_output(options.out, FILES, options.overwrite, inputs, can_resume=True)


@contextmanager
def _running(options: TrainOptions, processes: Processes, console: Console) -> Iterator[None]:
    """Hold the lock on the folder of the run, and let an unexpected end say how to continue the run."""
    with ExitStack() as stack:
        if processes.rank == 0:
            stack.enter_context(run_lock(options.out, partial(print_line, console)))
            _check_output(options)  # again: another run may have used the folder since
        last = options.out / run_folder.LAST
        stack.enter_context(resumable(lambda: last if last.is_file() else None))
        yield


def _build_config(
    options: TrainOptions, head: str, train_set: Dataset, start: Checkpoint | None
) -> DetectorConfig:
    short_side = options.size or recipe_for(options.variant).short_side
    is_square = options.augmentation == "lsj"
    return DetectorConfig(
        variant=options.variant,
        categories=train_set.categories,
        head=head,
        short_side=short_side,
        long_side=short_side if is_square else scaled_long_side(short_side),
        backbone=start.backbone_keywords if start is not None and start.variant == options.variant else {},
    )


def _build_loaders(
    options: TrainOptions,
    config: DetectorConfig,
    processes: Processes,
    train_set: Dataset,
    val_set: Dataset | None,
) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
    rank, world_size = processes.rank, processes.world_size
    augment = build_augmentation(options.augmentation, recipe_for(options.variant), config.short_side)
    train_loader = build_train_loader(
        train_set,
        augment,
        options.batch_size,
        with_masks=HEADS[config.head].has_masks,
        accumulate=options.accumulate,
        rank=rank,
        world_size=world_size,
        seed=options.seed,
        workers=options.workers,
    )
    if val_set is None:
        return train_loader, None
    return train_loader, build_val_loader(val_set, rank=rank, world_size=world_size, workers=options.workers)


def _build_detector(
    options: TrainOptions, config: DetectorConfig, start: Checkpoint | None, console: Console
) -> FasterRCNN:
    """Build the detector, with the weights that training starts from, and log which of them were loaded."""
    L.seed_everything(options.seed, verbose=False)
    # The augmentation sets the size of training images, so torchvision's own resizing is skipped.
    detector = config.build(backbone={"recompute": options.recompute}, _skip_resize=True)
    if start is not None and not options.resume:
        console.print(str(load_checkpoint(detector, start)), highlight=False, soft_wrap=True)
    return detector


def _prepare_folder(
    options: TrainOptions,
    config: DetectorConfig,
    schedule: Schedule,
    train_set: Dataset,
    checkpoint_bytes: int,
) -> None:
    """Check that a run can be resumed, or clear the folder of a new run; then write the settings.

    A new run needs ``checkpoint_bytes`` on the disk for its first checkpoints.
    """
    if options.resume:
        remove_temporary_files(options.out)
        check_resume(options, config, schedule, train_set.source)
    else:
        run_folder.clear_output(options.out, FILES)
        check_space(options.out / run_folder.LAST, checkpoint_bytes)
    write_settings(options, schedule)


@contextmanager
def _explained_errors(options: TrainOptions, last: Path) -> Iterator[None]:
    """Add to an interrupt how to continue the run, and to an out-of-memory error how to use less memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{out_of_memory_summary(error)}, with a batch_size of {options.batch_size}; to need less, lower "
            "batch_size and raise accumulate, set recompute to cheap or block, or lower size"
        ) from None
    except SystemExit:  # raised by Lightning on Ctrl-C and SIGTERM
        remedy = f"continue from {last}" if last.exists() else "start again: there is no checkpoint yet"
        raise KeyboardInterrupt(f"resume the run to {remedy}") from None
