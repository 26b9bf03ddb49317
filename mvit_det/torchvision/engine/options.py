"""The options of a training run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of a training run; the fields are the flags of ``mvit-det train``."""

    variant: str
    out: Path
    data: Path | None = None  # a folder; None: json and images
    json: Path | None = None
    images: Path | None = None
    val_json: Path | None = None
    val_images: Path | None = None  # None: images
    drop_invalid: bool = False
    head: str = "auto"  # a key of mvit_det.heads.HEADS or AUTOMATIC
    weights: str | None = None  # None: random weights
    epochs: int | None = None  # None: that of the variant's recipe
    batch_size: int = 4
    accumulate: int = 1
    lr: float | None = None  # None: scaled to the number of images per step
    size: int | None = None  # short side of a test image, px; None: that of the variant's recipe
    augmentation: str = "multiscale"
    precision: str = "float32"
    clip_norm: float | None = None
    ema: float | None = None  # decay of the moving average of the weights; None: no average
    eval_every: int | None = None  # epochs; None: at most 10 evaluations
    patience: int | None = None  # evaluations without a better box AP; None: never stops early
    save_every: str = "10m"  # steps, or minutes, between checkpoints within an epoch
    recompute: str = "none"
    devices: int | None = None  # None: those that torchrun or srun started, or 1
    num_nodes: int | None = None  # machines; None: as for devices
    workers: int | None = None
    seed: int = 0
    draw: int = 8
    logger: str | None = None  # experiment tracker: wandb or mlflow
    resume: bool = False
    overwrite: bool = False
