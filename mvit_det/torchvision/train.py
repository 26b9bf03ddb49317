"""Training of a detector on a COCO-format data set, from files to files."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from pycocotools.coco import COCO
from rich.console import Console
from torch.utils.data import DataLoader

from mvit_det import __version__
from mvit_det.data.annotations import category_names, read_coco
from mvit_det.data.average_precision import Metrics
from mvit_det.data.results import write_json
from mvit_det.errors import InputError, out_of_memory_summary
from mvit_det.report import run_folder
from mvit_det.report.curves import draw_curves
from mvit_det.torchvision.data.augmentation import build_augmentation
from mvit_det.torchvision.data.dataset import AspectRatioBatches, CocoPictures, collate
from mvit_det.torchvision.engine.detector_checkpoint import (
    LONG_OVER_SHORT,
    SHORT_SIDE,
    SHORT_SIDE_OF,
    DetectorConfig,
    config_of,
)
from mvit_det.torchvision.engine.lightning_module import BEST_BY, DetectorModule
from mvit_det.torchvision.engine.lightning_trainer import (
    build_console,
    build_trainer,
    check_devices,
    default_workers,
    process_rank,
)
from mvit_det.torchvision.engine.schedule import Schedule, plan
from mvit_det.torchvision.evaluate import check_pictures, evaluate_module, val_loader
from mvit_det.weights import Checkpoint, load_all_weights, load_checkpoint, local_file, read_checkpoint
from mvit_det.weights.checkpoint import identify_checkpoint
from mvit_det.weights.reading.files import read_file

NUM_EVALUATIONS = 5  # at least, during a run
LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class TrainOptions:
    """What a training run takes; the fields are the flags of ``mvit-det train``."""

    json: Path
    images: Path
    variant: str
    out: Path
    weights: str | None = None  # None: random
    val_json: Path | None = None
    val_images: Path | None = None  # None: where the training pictures are
    head: str = "mask_rcnn"
    epochs: int = 36
    batch_size: int = 4
    accumulate: int = 1
    lr: float | None = None  # None: follows from the batch
    size: int | None = None  # None: 800 px, the nano variant 256
    augmentation: str = "multiscale"
    precision: str = "float32"
    clip_norm: float | None = None
    recompute: str = "none"
    devices: int = 1
    workers: int | None = None
    seed: int = 0
    draw: int = 8
    resume: bool = False
    overwrite: bool = False


def train(options: TrainOptions) -> Metrics:
    """Train a detector, and evaluate its best checkpoint where there is a set to evaluate on.

    Returns:
        the metrics; empty without ``options.val_json``.

    Raises:
        InputError: before anything is written, for what cannot be used.
    """
    console = build_console()
    check_devices(options.devices)
    if options.val_images and not options.val_json:
        raise InputError(f"--val-images {options.val_images}: needs --val-json")
    val_images = options.val_images or options.images
    data = read_coco(options.json)
    truth = read_coco(options.val_json) if options.val_json else None
    start = read_checkpoint(local_file(options.weights)) if options.weights is not None else None
    config = _config(options, data, truth, start)
    schedule = plan(
        options.variant,
        num_images=len(data.imgs),
        epochs=options.epochs,
        batch_size=options.batch_size,
        devices=options.devices,
        accumulate=options.accumulate,
        lr=options.lr,
    )
    augment = build_augmentation(options.augmentation, config.short_side, config.long_side)
    L.seed_everything(options.seed, workers=True, verbose=False)
    # The augmentation sets the size in training; torchvision's own resizing is for inference.
    detector = config.build(backbone={"recompute": options.recompute}, _skip_resize=True)
    if start is not None and not options.resume:
        console.print(str(load_checkpoint(detector, start)), highlight=False, soft_wrap=True)
    del start  # as large as the backbone
    if process_rank() == 0:
        _check_folder(options, config, schedule)
        check_pictures(data, options.images, console)
        if truth is not None:
            check_pictures(truth, val_images, console)
        if not options.resume:
            run_folder.clear_output(options.out, run_folder.TRAINING_FILES + run_folder.RESULT_FILES)
        write_json(options.out / run_folder.SETTINGS, _settings(options, schedule))
    console.print(schedule.explanation, highlight=False, soft_wrap=True)

    module = DetectorModule(config, detector, truth, schedule)
    trainer = _trainer(options, schedule, console)
    pictures = CocoPictures(data, options.images, augment)
    held_out = None
    if truth is not None:
        held_out = val_loader(truth, val_images, options.devices, options.workers)
    last, best = options.out / run_folder.LAST, options.out / run_folder.BEST
    try:
        trainer.fit(
            module,
            _train_loader(options, pictures),
            held_out,
            ckpt_path=last if options.resume else None,
            weights_only=True,
        )
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{out_of_memory_summary(error)}, for --batch-size {options.batch_size}: a smaller one with "
            "--accumulate, --recompute cheap or block, or a smaller --size bring it under"
        ) from None
    except SystemExit:  # how Lightning ends on Ctrl-C and on SIGTERM
        raise KeyboardInterrupt(f"--resume goes on from {last}, if an epoch was whole") from None

    if trainer.is_global_zero:
        draw_curves(options.out / run_folder.LOGS, options.out / run_folder.CURVES)
    if held_out is None:
        console.print(f"wrote {last}; without --val-json it is not evaluated", highlight=False)
        return {}
    load_all_weights(module.detector, read_checkpoint(best))
    console.print(f"wrote {best} and {last}", highlight=False, soft_wrap=True)
    return evaluate_module(module, trainer, held_out, val_images, options.out, options.draw, console)


def _config(
    options: TrainOptions, data: COCO, truth: COCO | None, start: Checkpoint | None
) -> DetectorConfig:
    short_side = options.size or SHORT_SIDE_OF.get(options.variant, SHORT_SIDE)
    is_square = options.augmentation == "lsj"
    config = DetectorConfig(
        variant=options.variant,
        categories=category_names(data),
        cascade=options.head == "cascade_mask_rcnn",
        short_side=short_side,
        long_side=short_side if is_square else round(short_side * LONG_OVER_SHORT),
        backbone=start.backbone_keywords if start is not None and start.variant == options.variant else {},
    )
    if truth is not None:
        config.check_categories(category_names(truth), options.json, str(options.val_json))
    return config


def _check_folder(options: TrainOptions, config: DetectorConfig, schedule: Schedule) -> None:
    if not options.resume:
        names = run_folder.TRAINING_FILES + run_folder.RESULT_FILES
        inputs = (options.json, options.images, options.val_json, options.val_images)
        given = [path for path in inputs if path is not None]
        run_folder.check_output(options.out, names, options.overwrite, given)
        return
    last = options.out / run_folder.LAST
    content = read_file(last)
    trained = config_of(identify_checkpoint(last, content))
    if "optimizer_states" not in content:
        raise InputError(f"{last}: holds weights alone; expected the last.ckpt that the run wrote")
    trained.check_categories(config.categories, last, str(options.json))
    for field, value in asdict(config).items():
        before = getattr(trained, field)
        if before != value:
            raise InputError(
                f"{last}: was trained with {field} {before}, not {value}; resume with the same flags"
            )
    settings = json.loads((options.out / run_folder.SETTINGS).read_text())
    before = settings["schedule"]["explanation"]
    if before != schedule.explanation:
        raise InputError(
            f"{options.out}: the run was of {before}; this would be of {schedule.explanation}; resume "
            "with the same data and flags"
        )


def _settings(options: TrainOptions, schedule: Schedule) -> dict[str, Any]:
    versions = {name: version(name) for name in ("torch", "torchvision", "lightning")}
    return {
        "options": {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()
        },
        "schedule": asdict(schedule),
        "versions": versions | {"mvit_det": __version__, "python": platform.python_version()},
    }


def _trainer(options: TrainOptions, schedule: Schedule, console: Console) -> L.Trainer:
    csv = CSVLogger(options.out, name=run_folder.LOGS)
    tensorboard = TensorBoardLogger(options.out, name=run_folder.LOGS, version=csv.version)
    last = ModelCheckpoint(
        options.out,
        filename=Path(run_folder.LAST).stem,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    best = ModelCheckpoint(
        options.out,
        filename=Path(run_folder.BEST).stem,
        monitor=BEST_BY,
        mode="max",
        save_weights_only=True,
        enable_version_counter=False,
    )
    num_batches = schedule.steps * options.accumulate
    return build_trainer(
        precision=options.precision,
        devices=options.devices,
        console=console,
        callbacks=(LearningRateMonitor(), last, *([best] if options.val_json else [])),
        max_epochs=options.epochs,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.clip_norm,
        logger=[csv, tensorboard],
        log_every_n_steps=min(LOG_EVERY, schedule.steps),
        check_val_every_n_epoch=None,  # the interval counts batches through all epochs
        val_check_interval=max(1, num_batches // NUM_EVALUATIONS),
    )


def _train_loader(options: TrainOptions, pictures: CocoPictures) -> DataLoader[Any]:
    batches = AspectRatioBatches(
        pictures.aspect_ratios(),
        options.batch_size,
        accumulate=options.accumulate,
        rank=process_rank(),
        world_size=options.devices,
        seed=options.seed,
    )
    workers = default_workers(options.devices) if options.workers is None else options.workers
    return DataLoader(
        pictures,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
