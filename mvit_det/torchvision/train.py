"""Training of a detector on a data set."""

from typing import Any

import lightning as L
import torch
from rich.console import Console
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN

from mvit_det.data.average_precision import Metrics
from mvit_det.data.dataset import Dataset
from mvit_det.data.sources import check_has_objects, read_train_and_val
from mvit_det.engine.trackers import check_tracker
from mvit_det.errors import InputError
from mvit_det.heads import HEADS, select_head
from mvit_det.recipes import recipe_for, scaled_long_side
from mvit_det.report import run_folder
from mvit_det.report.console import check_images_with_progress, print_line
from mvit_det.report.curves import draw_curves
from mvit_det.report.data_problems import report_data
from mvit_det.torchvision.data.augmentation import build_augmentation
from mvit_det.torchvision.data.loaders import build_train_loader, build_val_loader
from mvit_det.torchvision.engine.checkpoint_files import first_checkpoints_size
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig
from mvit_det.torchvision.engine.last_checkpoint import SaveInterval
from mvit_det.torchvision.engine.lightning_module import DetectorModule
from mvit_det.torchvision.engine.lightning_trainer import fit
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.engine.processes import Processes, build_console, find_processes, single_error
from mvit_det.torchvision.engine.run_start import check_output, choose_start, locked_folder, prepare_folder
from mvit_det.torchvision.engine.schedule import plan
from mvit_det.torchvision.evaluate import evaluate_module
from mvit_det.weights import Checkpoint, load_all_weights, load_checkpoint, local_file, read_checkpoint


@single_error()
def train(options: TrainOptions) -> Metrics:
    """Train a detector and, if there is a validation set, evaluate its best checkpoint.

    Returns:
        The metrics of the best checkpoint; empty without a validation set.

    Raises:
        InputError: if an input cannot be used, in which case nothing is written; if a loss is not finite; or
            if the GPU runs out of memory.
        RunError: if a fault of the machine stops the run, such as a full disk or a process that was killed;
            the message says how to continue the run.
        ImageError: if an image is removed or changes during the run; a checkpoint is saved before.
        KeyboardInterrupt: on Ctrl-C or SIGTERM; the message says how to continue the run.
    """
    console = build_console()
    processes = find_processes(options.devices, options.num_nodes)
    check_tracker(options.logger)
    SaveInterval.parse(options.save_every)
    options = choose_start(options, console)
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
    with locked_folder(options, processes, console):
        if processes.rank == 0:
            num_bytes = first_checkpoints_size(detector, keep_best=val_set is not None)
            prepare_folder(options, config, schedule, train_set.source, num_bytes)
            datasets = [train_set] if val_set is None else [train_set, val_set]
            limits = [(config.short_side, config.long_side)]
            for line in report_data(datasets, options.out, drop_invalid=options.drop_invalid, limits=limits):
                print_line(console, line)
        print_line(console, f"{explanation}\n{schedule.explanation}")
        if processes.devices > 1 and not torch.cuda.is_available():
            print_line(console, f"no GPU: {processes.devices} processes share the CPU of a machine")
        module = DetectorModule(config, detector, val_set.coco if val_set else None, schedule)
        trainer = fit(options, processes, console, module, train_loader, val_loader)

        last, best = options.out / run_folder.LAST, options.out / run_folder.BEST
        if trainer.is_global_zero:
            draw_curves(options.out / run_folder.LOGS, options.out / run_folder.CURVES)
        if val_set is None or val_loader is None:
            print_line(console, f"wrote {last}; there is no validation set to evaluate it on")
            return {}
        load_all_weights(module.detector, read_checkpoint(best))
        print_line(console, f"wrote {best} and {last}")
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
        check_output(options)
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
        skip_unreadable=options.drop_invalid,
    )
    if val_set is None:
        return train_loader, None
    val_loader = build_val_loader(
        val_set,
        rank=rank,
        world_size=world_size,
        workers=options.workers,
        skip_unreadable=options.drop_invalid,
    )
    return train_loader, val_loader


def _build_detector(
    options: TrainOptions, config: DetectorConfig, start: Checkpoint | None, console: Console
) -> FasterRCNN:
    """Build the detector, with the weights that training starts from, and log which of them were loaded."""
    L.seed_everything(options.seed, verbose=False)
    # The augmentation sets the size of training images, so torchvision's own resizing is skipped.
    detector = config.build(backbone={"recompute": options.recompute}, _skip_resize=True)
    if start is not None and not options.resume:
        print_line(console, str(load_checkpoint(detector, start)))
    return detector
