"""Look at a lazy config: its training data, its predictions, and the results of an evaluation."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetMapper, MetadataCatalog
from detectron2.data import transforms as T
from detectron2.data.detection_utils import convert_image_to_rgb, convert_PIL_to_numpy
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import BitMasks, PolygonMasks
from detectron2.utils.env import seed_all_rng
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console
from torch import nn

from mvit_det.data.annotations import read_coco
from mvit_det.data.images import read_entry
from mvit_det.data.results import read_results
from mvit_det.detectron2.data.coco_json import check_dataset, json_categories, registered_categories
from mvit_det.detectron2.data.train_loader import Sample
from mvit_det.detectron2.engine.run_checks import check_classes
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.errors import InputError
from mvit_det.report import run_folder
from mvit_det.report.comparisons import draw_comparisons
from mvit_det.report.drawing import RgbImage, draw_objects, write_image
from mvit_det.report.predictions import Entries, PredictOptions, write_detections
from mvit_det.weights import load_all_weights, local_file, read_checkpoint


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``tools/visualize.py``.

    Raises:
        InputError: before anything is written, for what cannot be used.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    # argparse fills a list from one place only: key=value further on is left over.
    if [text for text in rest if text.startswith("-")] or (rest and "overrides" not in args):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if "overrides" in args:
        args.overrides += rest
    if "num" in args and args.num < 1:
        raise InputError(f"--num {args.num}: must be at least 1")
    args.command(args)


def draw_data(args: Namespace) -> None:
    """Draw the training data as the model sees them, after augmentation."""
    cfg = load_config(args.config_file, args.overrides)
    name = _train_set(cfg)
    check_dataset(name)
    metadata = MetadataCatalog.get(name)
    inputs = [args.config_file, *filter(None, (metadata.get("json_file"), metadata.get("image_root")))]
    _check_output(args, inputs)
    cfg.dataloader.train.num_workers = 0  # which change nothing in the data
    seed_all_rng(cfg.train.seed if cfg.train.seed >= 0 else None)
    samples = chain.from_iterable(build(cfg.dataloader.train))
    first = next(samples)  # which may fail, and nothing is cleared yet
    classes = dict(enumerate(registered_categories(name).values(), start=1))
    folder = _clear_output(args)
    for number, sample in enumerate(islice(chain([first], samples), args.num)):
        drawn = draw_sample(sample, cfg.dataloader.train.mapper.image_format, classes)
        write_image(folder / f"{number:04d}_{Path(sample['file_name']).stem}.png", drawn)
    _say(f"wrote {folder}: {args.num} pictures")


def draw_sample(sample: Sample, image_format: str, names: Mapping[int, str]) -> RgbImage:
    """Draw what Detectron2's training mapper returns.

    Args:
        sample: ``image`` (C, H, W) in 0..255, and ``instances`` with boxes, classes and perhaps masks.
        image_format: of the channels, as the mapper names it.
        names: label, from 1 -> name.

    Returns:
        (H, W, 3) RGB
    """
    pixels = convert_image_to_rgb(sample["image"].permute(1, 2, 0), image_format)
    image = np.ascontiguousarray(pixels.clip(0, 255), np.uint8)
    objects = sample["instances"]
    boxes, labels = objects.gt_boxes.tensor.numpy(), objects.gt_classes.numpy() + 1
    masks = np.zeros((len(objects), *image.shape[:2]), bool)
    if objects.has("gt_masks"):
        found = objects.gt_masks
        if isinstance(found, PolygonMasks):
            found = BitMasks.from_polygon_masks(found, *image.shape[:2])
        masks = found.tensor.numpy()
    return draw_objects(image, boxes, masks, labels, names)


def predict(args: Namespace) -> None:
    """Detect objects in a picture, a folder of pictures or a video; see :func:`write_detections`."""
    if not 0 <= args.score <= 1:
        raise InputError(f"--score {args.score:g}: must be from 0 to 1")
    cfg = load_config(args.config_file, args.overrides)
    checkpoint = cfg.train.init_checkpoint
    if not checkpoint:
        raise InputError(
            "train.init_checkpoint is not set: add train.init_checkpoint=..., a detector's weights"
        )
    if cfg.train.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"train.device {cfg.train.device!r}: this machine has no GPU; add train.device=cpu")
    model = build(cfg.model).to(cfg.train.device).eval()
    categories = _categories(cfg)
    check_classes(cfg, len(categories))
    load_all_weights(model, read_checkpoint(local_file(checkpoint)))
    write_detections(
        PredictOptions(args.source, Path(checkpoint), args.out, args.score, args.overwrite),
        partial(detect, model, build(cfg.dataloader.test.mapper), list(categories)),
        categories,
        _console(),
    )


def _categories(cfg: DictConfig) -> dict[int, str]:
    json = OmegaConf.select(cfg, "data.train.json")  # the pictures beside it need not be there
    return json_categories(json) if json else registered_categories(_train_set(cfg))


def _train_set(cfg: DictConfig) -> str:
    """Return the name of the training data, the first where there are several."""
    names = build(cfg.dataloader.train.dataset.names)
    return names if isinstance(names, str) else names[0]


@torch.inference_mode()
def detect(
    model: nn.Module, mapper: DatasetMapper, category_ids: Sequence[int], image: RgbImage, image_id: int
) -> Entries:
    """Return the COCO results entries of one (H, W, 3) RGB picture, best first.

    Args:
        model: a detector of Detectron2, in evaluation mode.
        mapper: that of its test data.
        category_ids: of its classes.
        image: the picture.
        image_id: its id.
    """
    pixels = convert_PIL_to_numpy(Image.fromarray(image), mapper.image_format)
    resized = T.AugInput(pixels)
    mapper.augmentations(resized)
    tensor = torch.from_numpy(np.ascontiguousarray(resized.image.transpose(2, 0, 1)))
    height, width = image.shape[:2]
    found = model([{"image": tensor, "height": height, "width": width}])[0]["instances"]
    entries = instances_to_coco_json(found.to("cpu"), image_id)
    return [entry | {"category_id": category_ids[entry["category_id"]]} for entry in entries]


def draw_results(args: Namespace) -> None:
    """Draw a COCO results file, such as an evaluation leaves, over its pictures beside the truth."""
    truth = read_coco(args.json)
    results = read_results(args.results, truth)
    if not args.images.is_dir():
        raise InputError(f"{args.images}: no such folder of pictures")
    for image_id in sorted(truth.imgs)[: args.num]:
        read_entry(args.images, truth.imgs[image_id])
    _check_output(args, (args.json, args.results, args.images))
    folder = _clear_output(args)
    draw_comparisons(truth, args.images, results, folder, args.num)
    _say(f"wrote {folder}: {min(args.num, len(truth.imgs))} pictures")


def _check_output(args: Namespace, inputs: Iterable[Path | str]) -> None:
    run_folder.refuse_training_run(args.out)
    run_folder.check_output(args.out, (run_folder.PICTURES,), args.overwrite, map(Path, inputs))


def _clear_output(args: Namespace) -> Path:
    run_folder.clear_output(args.out, (run_folder.PICTURES,))
    folder: Path = args.out / run_folder.PICTURES
    return folder


def _console() -> Console:
    return Console(stderr=True, markup=False)


def _say(line: str) -> None:
    _console().print(line, highlight=False, soft_wrap=True)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description="Look at the data of a lazy config, its predictions or its results.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Any, text: str) -> ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"Draw {text}.")
        command.set_defaults(command=run)
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
        command.add_argument("--overwrite", action="store_true", help="replace what another run left there")
        return command

    data = add("data", draw_data, "the training data after augmentation")
    found = add("predict", predict, "detections on a picture, a folder of pictures or a video")
    results = add("results", draw_results, "a COCO results file, detections beside the truth")

    found.add_argument("source", type=Path, help="a picture, a folder of pictures or a video")
    found.add_argument("--score", type=float, default=0.5, help="lowest score drawn; default: %(default)s")
    for command in (data, found):
        command.add_argument("--config-file", required=True, metavar="FILE", help="a lazy config")
        command.add_argument("overrides", nargs="*", metavar="key=value", help="in place of the config's")
    results.add_argument("--json", type=Path, required=True, help="COCO-format JSON with the truth")
    results.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of its pictures")
    results.add_argument("--results", type=Path, required=True, metavar="JSON", help="the results file")
    for command in (data, results):
        command.add_argument("--num", type=int, default=16, help="pictures to draw; default: %(default)s")
    return parser
