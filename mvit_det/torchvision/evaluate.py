"""Evaluation of a checkpoint on a COCO-format data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from pycocotools.coco import COCO
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from mvit_det.data.annotations import category_names, read_coco
from mvit_det.data.average_precision import Metrics
from mvit_det.data.images import check_images
from mvit_det.data.results import write_json
from mvit_det.report import run_folder
from mvit_det.report.comparisons import draw_comparisons
from mvit_det.report.console import metrics_tables, track
from mvit_det.torchvision.data.augmentation import to_float
from mvit_det.torchvision.data.dataset import CocoPictures, collate
from mvit_det.torchvision.engine.detector_checkpoint import load_detector
from mvit_det.torchvision.engine.lightning_module import DetectorModule
from mvit_det.torchvision.engine.lightning_trainer import (
    build_console,
    build_trainer,
    check_devices,
    default_workers,
    process_rank,
)


@dataclass(frozen=True)
class EvalOptions:
    """What an evaluation takes; the fields are the flags of ``mvit-det eval``."""

    checkpoint: Path
    json: Path
    images: Path
    out: Path
    precision: str = "float32"
    devices: int = 1
    workers: int | None = None
    draw: int = 8
    overwrite: bool = False


def evaluate_checkpoint(options: EvalOptions) -> Metrics:
    """Evaluate a checkpoint, and write its detections, metrics and pictures to ``options.out``.

    Raises:
        InputError: before anything is written, for what cannot be used.
    """
    console = build_console()
    check_devices(options.devices)
    detector, config = load_detector(options.checkpoint)
    truth = read_coco(options.json)
    config.check_categories(category_names(truth), options.checkpoint, str(options.json))
    if process_rank() == 0:
        run_folder.refuse_training_run(options.out)
        inputs = (options.json, options.images)
        run_folder.check_output(options.out, run_folder.RESULT_FILES, options.overwrite, inputs)
        check_pictures(truth, options.images, console)
        run_folder.clear_output(options.out, run_folder.RESULT_FILES)
    module = DetectorModule(config, detector, truth)
    trainer = build_trainer(
        precision=options.precision, devices=options.devices, console=console, logger=False
    )
    return evaluate_module(
        module,
        trainer,
        val_loader(truth, options.images, options.devices, options.workers),
        options.images,
        options.out,
        options.draw,
        console,
    )


def evaluate_module(
    module: DetectorModule,
    trainer: L.Trainer,
    loader: DataLoader[Any],
    images: Path,
    out: Path,
    num_pictures: int,
    console: Console,
) -> Metrics:
    """Evaluate a model as it stands; write detections, metrics and pictures; print the table."""
    trainer.validate(module, loader, verbose=False)
    if trainer.is_global_zero:
        assert module.truth is not None, "validation needs its data set"
        write_json(out / run_folder.DETECTIONS, module.results)
        write_json(out / run_folder.METRICS, module.metrics)
        draw_comparisons(module.truth, images, module.results, out / run_folder.PICTURES, num_pictures)
        console.print(*metrics_tables(module.metrics), sep="\n")
        names = (run_folder.CURVES, run_folder.METRICS, run_folder.DETECTIONS, run_folder.PICTURES)
        for name in names:
            if (out / name).exists():
                console.print(f"wrote {out / name}", highlight=False, soft_wrap=True)
    return module.metrics


def check_pictures(coco: COCO, images: Path, console: Console) -> None:
    """Read every picture of a data set once, with a progress bar; errors as in ``check_images``."""
    check_images(coco, images, lambda items, n: track(items, n, "checking pictures", console))


def val_loader(truth: COCO, images: Path, devices: int, workers: int | None) -> DataLoader[Any]:
    """Return this process's share of a data set, one picture at a time, at its own size.

    All shares are of one length: the first pictures come twice where the number does not divide.
    """
    dataset = CocoPictures(truth, images, to_float)
    whole = -(-len(dataset) // devices) * devices
    indexes = [index % len(dataset) for index in range(process_rank(), whole, devices)]
    share: Subset[Any] = Subset(dataset, indexes)
    if workers is None:
        # On a CPU a process forked here would keep a second copy of what the model goes on writing to.
        workers = default_workers(devices) if torch.cuda.is_available() else 0
    return DataLoader(share, collate_fn=collate, num_workers=workers)
