"""The commands that draw the training data or the predictions of a lazy config, or a results file."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch
from detectron2.data import MetadataCatalog
from detectron2.utils.env import seed_all_rng
from omegaconf import DictConfig
from rich.console import Console

from mvit_det.data.dataset import read_dataset
from mvit_det.data.images import read_entry
from mvit_det.data.results import read_results
from mvit_det.detectron2.config_files import CONFIG_HELP, find_config
from mvit_det.detectron2.data.registration import check_dataset, registered_categories
from mvit_det.detectron2.data.sample_drawing import draw_sample
from mvit_det.detectron2.data.user_data import compare_test_size, user_categories
from mvit_det.detectron2.engine.half_precision import with_precision
from mvit_det.detectron2.engine.inference import detect_frames
from mvit_det.detectron2.engine.run_checks import check_classes
from mvit_det.detectron2.engine.tta_settings import with_tta
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.engine.precision import PRECISIONS, autocast_dtype
from mvit_det.errors import InputError, counted, one_line_errors
from mvit_det.report import run_folder
from mvit_det.report.comparisons import draw_comparisons
from mvit_det.report.console import PlainConsole, print_line
from mvit_det.report.drawing import write_image
from mvit_det.report.predictions import PredictOptions, write_detections
from mvit_det.report.run_lock import run_lock
from mvit_det.weights import Checkpoint, load_all_weights, local_file, read_checkpoint
from mvit_det.weights.published import DETECTOR, VITDET_DETECTOR


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``tools/visualize.py``, or ``python -m mvit_det.detectron2.visualize``.

    Raises:
        InputError: if the config, a file or an argument is not valid; nothing is written in that case.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    # argparse fills a positional argument once: overrides after a later flag are in rest.
    if [text for text in rest if text.startswith("-")] or (rest and "overrides" not in args):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if "overrides" in args:
        args.overrides += rest
    if "num" in args and args.num < 1:
        raise InputError(f"--num {args.num}: must be at least 1")
    args.run(args)


def visualize_data(args: Namespace) -> None:
    """Draw training samples as the model receives them, after augmentation."""
    cfg = load_config(args.config_file, args.overrides)
    name = _training_set(cfg)
    check_dataset(name)
    metadata = MetadataCatalog.get(name)
    paths = filter(None, (metadata.get("json_file"), metadata.get("image_root")))
    inputs = [find_config(args.config_file), *map(Path, paths)]
    _check_output(args, inputs)
    cfg.dataloader.train.num_workers = 0  # does not change the samples
    seed_all_rng(cfg.train.seed if cfg.train.seed >= 0 else None)
    samples = chain.from_iterable(build(cfg.dataloader.train))
    first = next(samples)  # read before the output folder is cleared, because the image may be damaged
    classes = dict(enumerate(registered_categories(name).values(), start=1))
    with _cleared_output(args, inputs) as folder:
        for number, sample in enumerate(islice(chain([first], samples), args.num)):
            drawn = draw_sample(sample, cfg.dataloader.train.mapper.image_format, classes)
            write_image(folder / f"{number:04d}_{Path(sample['file_name']).stem}.png", drawn)
    _print(f"wrote {folder}: {counted(args.num, 'image')}")


def visualize_predictions(args: Namespace) -> None:
    """Detect objects in an image, a folder, a video or with a camera; see :func:`write_detections`."""
    cfg = load_config(args.config_file, args.overrides)
    checkpoint = cfg.train.init_checkpoint
    if not checkpoint:
        raise InputError(
            "train.init_checkpoint is not set: add train.init_checkpoint=..., the weights of a detector"
        )
    if cfg.train.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"train.device {cfg.train.device!r}: this machine has no GPU; add train.device=cpu")
    dtype = autocast_dtype(args.precision, torch.device(cfg.train.device))
    weights = read_checkpoint(local_file(checkpoint, DETECTOR, VITDET_DETECTOR))
    categories = _categories(cfg, weights)
    model = build(cfg.model).to(cfg.train.device).eval()
    check_classes(cfg, len(categories))
    load_all_weights(model, weights)
    if warning := compare_test_size(cfg, weights.metadata):
        _print(warning)
    detector = with_precision(with_tta(cfg, model), dtype)  # before the mapper, which it may change
    options = PredictOptions(
        sources=[args.source],
        checkpoint=Path(checkpoint),
        out=args.out,
        score=args.score,
        pictures=args.pictures,
        overwrite=args.overwrite,
        strict=args.strict,
        track=args.track,
    )
    detect = partial(detect_frames, detector, build(cfg.dataloader.test.mapper), list(categories))
    write_detections(options, detect, categories, _console())


def visualize_results(args: Namespace) -> None:
    """Draw the detections of a COCO results file next to the ground truth."""
    truth = read_dataset(args.json, args.images).coco
    results = read_results(args.results, truth)
    for image_id in sorted(truth.imgs)[: args.num]:
        read_entry(args.images, truth.imgs[image_id])
    inputs = (args.json, args.results, args.images)
    _check_output(args, inputs)
    with _cleared_output(args, inputs) as folder:
        draw_comparisons(truth, args.images, results, folder, args.num)
    _print(f"wrote {folder}: {counted(min(args.num, len(truth.imgs)), 'image')}")


def _training_set(cfg: DictConfig) -> str:
    """Return the name of the training set, or of the first if there are several."""
    names = build(cfg.dataloader.train.dataset.names)
    return names if isinstance(names, str) else names[0]


def _categories(cfg: DictConfig, checkpoint: Checkpoint) -> dict[int, str]:
    return user_categories(cfg, checkpoint) if "data" in cfg else registered_categories(_training_set(cfg))


def _check_output(args: Namespace, inputs: Iterable[Path]) -> None:
    run_folder.refuse_training_run(args.out)
    run_folder.check_output(args.out, (run_folder.PICTURES,), args.overwrite, inputs)


@contextmanager
def _cleared_output(args: Namespace, inputs: Iterable[Path]) -> Iterator[Path]:
    """Lock the output folder, and return the empty folder of the images in it."""
    with run_lock(args.out, _print):
        _check_output(args, inputs)  # again: another command may have used the folder since
        run_folder.clear_output(args.out, (run_folder.PICTURES,))
        yield args.out / run_folder.PICTURES


def _console() -> Console:
    return PlainConsole(stderr=True)


def _print(line: str) -> None:
    print_line(_console(), line)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Draw the training data or the predictions of a lazy config, or a COCO results file."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Callable[[Namespace], None], objects: str) -> ArgumentParser:
        command = commands.add_parser(name, help=f"draw {objects}", description=f"Draw {objects}.")
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
        command.add_argument("--overwrite", action="store_true", help="replace the files of an earlier run")
        return command

    data = add("data", visualize_data, "the training data after augmentation")
    predict = add("predict", visualize_predictions, "detections in images or in a video")
    results = add(
        "results", visualize_results, "the detections of a COCO results file next to the ground truth"
    )

    predict.add_argument(
        "source",
        help="an image, a folder, which is searched with its subfolders, a video, the URL of an image or a "
        "video, or a camera (0 or camera:0 for the first)",
    )
    predict.add_argument(
        "--score", type=float, default=0.5, help="minimum score of a drawn detection; default: %(default)s"
    )
    predict.add_argument(
        "--precision",
        choices=("auto", *PRECISIONS),
        default="auto",
        help="auto is bf16 or fp16 on a GPU, bf16 on a CPU with AMX or AVX512-BF16, else float32; default: "
        "%(default)s",
    )
    predict.add_argument(
        "--strict",
        action="store_true",
        help="detect nothing if an image cannot be read or a video is truncated; by default, what can be "
        "read is detected, and the exit status is 1",
    )
    predict.add_argument(
        "--no-pictures", action="store_false", dest="pictures", help="write the results only"
    )
    predict.add_argument(
        "--track", action="store_true", help="number the objects of a video, and follow them over its frames"
    )
    for command in (data, predict):
        command.add_argument(
            "--config-file",
            required=True,
            metavar="CONFIG",
            help=CONFIG_HELP,
        )
        command.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the config")
    results.add_argument("--json", type=Path, required=True, help="COCO-format JSON with the ground truth")
    results.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of its images")
    results.add_argument("--results", type=Path, required=True, metavar="JSON", help="the COCO results file")
    for command in (data, results):
        command.add_argument(
            "--num", type=int, default=16, help="number of images to draw; default: %(default)s"
        )
    return parser


if __name__ == "__main__":
    with one_line_errors():
        main()
