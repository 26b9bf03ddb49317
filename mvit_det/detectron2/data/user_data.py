"""Users' own data in a config: registration, and values that are computed from the data."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

from mvit_det.data.coco.categories import printable_name
from mvit_det.data.dataset import Dataset
from mvit_det.detectron2.data.config_data import Keys, config_data
from mvit_det.detectron2.data.registration import register, unregister
from mvit_det.errors import InputError, counted
from mvit_det.report.data_problems import report_data
from mvit_det.weights.checkpoint import CONFIG_KEY, Checkpoint


def register_split(data: Keys, split: str) -> str:
    """Read a split and every image of it, register it with Detectron2, and return its name there.

    Args:
        data: the keys under ``data`` of a config.
        split: ``"train"``, or ``"val"`` for the set that a detector is evaluated on.

    Raises:
        InputError: if the data cannot be used; see :func:`read_split`.
    """
    dataset = read_split(data, split)
    option = "drop_invalid" if data["drop_invalid"] else ""
    name = ":".join(filter(None, (str(dataset.source), str(dataset.images), dataset.split, option)))
    register(name, dataset)
    return name


def release_training_set(cfg: DictConfig) -> None:
    """Free the memory of the training set, after its data loader has been built.

    The loader has a serialized copy. Python objects would in addition be copied by each worker process.
    """
    if "data" not in cfg:
        return
    unregister(register_split(cfg.data, "train"))
    config_data(cfg.data).release_train()


def read_split(data: Keys, split: str) -> Dataset:
    """Return a split after a check of every image, with a progress bar on a terminal.

    Args:
        data: the keys under ``data`` of a config.
        split: ``"train"``, or ``"val"`` for the set that a detector is evaluated on.

    Raises:
        InputError: if a key is missing or wrong, if the data cannot be read, or if an entry or an image
            cannot be used and ``data.drop_invalid`` is false.
    """
    datasets = config_data(data)
    return datasets.train if split == "train" else datasets.val


def has_validation_set(cfg: DictConfig) -> bool:
    """Return whether a training run with this config has a validation set.

    Raises:
        InputError: if the data cannot be read.
    """
    if "data" not in cfg:  # a data set of Detectron2's catalog
        return True
    return config_data(cfg.data).has_val


def log_data(cfg: DictConfig, splits: Sequence[str]) -> None:
    """Read the data of a run, log what they contain, and write their problems to ``train.output_dir``.

    Every process reads them, because the validation set is read with the training set, which is released
    later. Only the main process logs and writes.

    Args:
        cfg: the config of the run.
        splits: the splits that the run reads.
    """
    if "data" not in cfg:
        return
    datasets = [read_split(cfg.data, split) for split in splits]
    if not comm.is_main_process():
        return
    logger, folder = logging.getLogger(__name__), Path(cfg.train.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for line in report_data(datasets, folder, drop_invalid=cfg.data.drop_invalid, limits=_size_limits(cfg)):
        logger.info(line)
    if "val" not in splits:
        logger.info("no validation set: the detector is not evaluated, and no best checkpoint is written")


def _size_limits(cfg: DictConfig) -> list[tuple[int, int]]:
    """Return the short side to which test images are resized, and the limit on the long side, if set."""
    steps = OmegaConf.select(cfg, "dataloader.test.mapper.augmentations") or ()
    limits = [(step.get("short_edge_length"), step.get("max_size")) for step in steps]
    return [sides for sides in limits if all(isinstance(side, int) for side in sides)]


def detector_config(cfg: DictConfig) -> dict[str, Any]:
    """Return an entry for checkpoints: the categories of a detector and the size of its images.

    :class:`mvit_det.Detector` reads it. If the config has no ``data``, the result is empty.
    """
    if "data" not in cfg:
        return {}
    entry: dict[str, Any] = {"categories": categories_of(cfg.data)}
    if limits := _size_limits(cfg):
        entry["short_side"], entry["long_side"] = limits[0]
    return {CONFIG_KEY: entry}


def compare_test_size(cfg: DictConfig, metadata: Mapping[str, Any]) -> str | None:
    """Return a warning if a config resizes test images to another size than that of a checkpoint.

    Args:
        cfg: the config of the run.
        metadata: the metadata of the checkpoint, in which :func:`detector_config` or ``mvit-det train`` has
            stored its test size.
    """
    entry, limits = metadata.get(CONFIG_KEY, {}), _size_limits(cfg)
    trained = entry.get("short_side"), entry.get("long_side")
    if not limits or limits[0] == trained or not all(isinstance(side, int) for side in trained):
        return None
    if OmegaConf.select(cfg, "train.tta.enabled"):  # which has its own sizes
        return None
    key = "dataloader.test.mapper.augmentations.0"
    return (
        f"images are resized to a short side of {limits[0][0]} px and a long side of at most {limits[0][1]} "
        f"px, but the test size of the checkpoint is {trained[0]} and {trained[1]} px; to use it, add "
        f"{key}.short_edge_length={trained[0]} {key}.max_size={trained[1]}"
    )


def categories_of(data: Keys) -> dict[int, str]:
    """Return category id -> name, in the order of a detector's classes.

    They are those of the training set, whose images need not exist, or else those of the validation set.

    Raises:
        InputError: if the data cannot be read.
    """
    return config_data(data).categories


def names_data(cfg: DictConfig) -> bool:
    """Return whether a config for a user's own data names any."""
    return any((cfg.data.root, cfg.data.train.json, cfg.data.val.json))


def user_categories(cfg: DictConfig, checkpoint: Checkpoint) -> dict[int, str]:
    """Return category id -> name of a detector, for a config that may name no data.

    If it names none, the categories come from the checkpoint, and the number of classes in the config is set
    to their number.

    Raises:
        InputError: if the data cannot be read, or if neither names the classes.
    """
    if names_data(cfg):
        return categories_of(cfg.data)
    if not checkpoint.categories:
        raise InputError(
            f"{checkpoint.path}: does not name its classes; add data.root=... or data.train.json=..., the "
            "data that it was trained on"
        )
    if isinstance(OmegaConf.select(cfg, "model.roi_heads.num_classes"), DictConfig):  # computed from the data
        cfg.model.roi_heads.num_classes = len(checkpoint.categories)
    return {id_: printable_name(name) for id_, name in checkpoint.categories.items()}


def count_classes(data: Keys) -> int:
    """Return the number of classes."""
    return len(config_data(data).categories)


def count_steps(data: Keys, epochs: int, batch_size: int) -> int:
    """Return the number of steps in ``epochs`` passes over the training images, rounded up."""
    return -(-len(read_split(data, "train").coco.imgs) * epochs // batch_size)


def mask_format(data: Keys) -> str:
    """Return the ``instance_mask_format`` of Detectron2's mapper: ``"bitmask"`` if a mask is RLE.

    Raises:
        InputError: if an object of the training set has no mask.
    """
    dataset = read_split(data, "train")
    if not dataset.has_masks:
        raise InputError(
            f"{dataset.source}: {dataset.num_masks:,} of {counted(dataset.num_objects, 'object')} have a "
            "mask, and this config trains on masks; for boxes alone, use a config such as "
            "finetune_faster_rcnn_mvitv2_t"
        )
    masks = (entry["segmentation"] for entry in dataset.coco.anns.values() if not entry["iscrowd"])
    return "bitmask" if any(isinstance(mask, dict) for mask in masks) else "polygon"
