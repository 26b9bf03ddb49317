"""Evaluation of a checkpoint on a data set."""

from contextlib import nullcontext
from dataclasses import dataclass
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
from mvit_det.data.json_files import write_json
from mvit_det.data.sources import read_evaluation_set
from mvit_det.engine.precision import autocast_dtype
from mvit_det.report import run_folder
from mvit_det.report.comparisons import draw_comparisons
from mvit_det.report.console import check_images_with_progress, metrics_tables, print_line
from mvit_det.report.data_problems import report_data
from mvit_det.report.run_lock import run_lock
from mvit_det.torchvision.data.loaders import build_val_loader
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig, load_detector
from mvit_det.torchvision.engine.lightning_module import DetectorModule
from mvit_det.torchvision.engine.lightning_trainer import build_trainer
from mvit_det.torchvision.engine.processes import Processes, build_console, find_processes, single_error


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The options of an evaluation; the fields are the flags of ``mvit-det eval``."""

    checkpoint: Path
    out: Path
    data: Path | None = None  # a folder; None: json and images
    json: Path | None = None
    images: Path | None = None
    drop_invalid: bool = False
    soft_nms: str | None = None  # a key of mvit_det.nms.SOFT_NMS
    precision: str = "float32"  # see mvit_det.engine.precision.autocast_dtype
    devices: int | None = None  # None: those that torchrun or srun started, or 1
    num_nodes: int | None = None  # machines; None: as for devices
    workers: int | None = None
    draw: int = 8
    overwrite: bool = False


@single_error()
def evaluate_checkpoint(options: EvalOptions) -> Metrics:
    """Evaluate a checkpoint, and write its detections, metrics and drawings to ``options.out``.

    Raises:
        InputError: if an input cannot be used, in which case nothing is written.
    """
    console = build_console()
    processes = find_processes(options.devices, options.num_nodes)
    dtype = autocast_dtype(options.precision, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    detector, config = load_detector(options.checkpoint)
    detector.roi_heads.soft_nms = options.soft_nms
    if processes.rank == 0:
        _check_output(options)
    dataset = read_evaluation_set(
        options.data, options.json, options.images, drop_invalid=options.drop_invalid
    )
    config = config.with_ids_of(dataset.categories, options.checkpoint, dataset.source)
    dataset = check_images_with_progress(dataset, console, drop_invalid=options.drop_invalid)
    with nullcontext() if processes.rank else run_lock(options.out, partial(print_line, console)):
        return _evaluate(options, config, detector, dataset, processes, dtype, console)


def _evaluate(
    options: EvalOptions,
    config: DetectorConfig,
    detector: FasterRCNN,
    dataset: Dataset,
    processes: Processes,
    dtype: torch.dtype | None,
    console: Console,
) -> Metrics:
    if processes.rank == 0:
        _check_output(options)  # again: another command may have used the folder since
        run_folder.clear_output(options.out, run_folder.RESULT_FILES)
        limits = [(config.short_side, config.long_side)]
        for line in report_data([dataset], options.out, drop_invalid=options.drop_invalid, limits=limits):
            print_line(console, line)
    loader = build_val_loader(
        dataset,
        rank=processes.rank,
        world_size=processes.world_size,
        workers=options.workers,
        skip_unreadable=options.drop_invalid,
    )
    trainer = build_trainer(autocast_dtype=dtype, processes=processes, console=console, logger=False)
    module = DetectorModule(config, detector, dataset.coco)
    return evaluate_module(
        module,
        trainer,
        loader,
        images=dataset.images,
        out=options.out,
        num_drawings=options.draw,
        console=console,
    )


def _check_output(options: EvalOptions) -> None:
    run_folder.refuse_training_run(options.out)
    paths = (options.data, options.json, options.images, options.checkpoint)
    inputs = [path for path in paths if path is not None]
    run_folder.check_output(options.out, run_folder.RESULT_FILES, options.overwrite, inputs)


def evaluate_module(
    module: DetectorModule,
    trainer: L.Trainer,
    loader: DataLoader[Any],
    *,
    images: Path,
    out: Path,
    num_drawings: int,
    console: Console,
) -> Metrics:
    """Evaluate a detector with its current weights, write the results, and print the metrics.

    Args:
        module: the detector, with the ground truth of the validation images.
        trainer: runs the evaluation.
        loader: loads the validation images.
        images: folder of the validation images, for the drawings.
        out: folder for the results.
        num_drawings: number of images on which ground truth and detections are drawn.
        console: prints the metrics and the paths of the results.
    """
    trainer.validate(module, loader, verbose=False)
    if trainer.is_global_zero:
        assert module.truth is not None, "validation needs annotations"
        write_json(out / run_folder.DETECTIONS, module.results)
        write_json(out / run_folder.METRICS, module.metrics)
        draw_comparisons(module.truth, images, module.results, out / run_folder.PICTURES, num_drawings)
        console.print(*metrics_tables(module.metrics), sep="\n")
        names = (run_folder.CURVES, run_folder.METRICS, run_folder.DETECTIONS, run_folder.PICTURES)
        for name in names:
            if (out / name).exists():
                print_line(console, f"wrote {out / name}")
    return module.metrics
