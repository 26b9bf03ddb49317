"""The flags of ``mvit-det`` and the types of their values."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mvit_det import __version__
from mvit_det.backbone.variants import RECOMPUTE, VARIANTS


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it leaves the name of the command in ``command``."""
    parser = argparse.ArgumentParser(
        "mvit-det", description="Detect objects with MViTv2, Mask R-CNN and Cascade Mask R-CNN."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def add(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    demo = add(
        "demo",
        "train on made-up pictures of shapes, evaluate, and draw what is found",
        "mvit-det demo --out runs/demo",
    )
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the run")
    demo.add_argument("--epochs", type=_positive(int), default=10, help="default: %(default)s")
    _add_overwrite(demo)

    train = add(
        "train",
        "train a detector on a COCO-format data set",
        "mvit-det train --json runs/demo/shapes/train.json --images runs/demo/shapes/images "
        "--val-json runs/demo/shapes/val.json --variant mvitv2_nano --out runs/shapes",
    )
    _add_data(train)
    train.add_argument("--variant", required=True, help=f"one of {', '.join(VARIANTS)}")
    train.add_argument(
        "--weights",
        metavar="SOURCE",
        help="what to start from: a file, a URL or detectron2://..., of a backbone or a detector",
    )
    train.add_argument("--out", type=Path, help="folder of the run; default: runs/VARIANT")
    train.add_argument("--val-json", type=Path, help="COCO-format JSON to evaluate on")
    train.add_argument("--val-images", type=Path, help="its pictures, if not in --images")
    train.add_argument("--cascade", action="store_true", help="Cascade Mask R-CNN")
    train.add_argument("--epochs", type=_positive(int), default=36, help="default: %(default)s")
    train.add_argument(
        "--batch-size",
        type=_positive(int),
        default=4,
        help="pictures at once on each device; default: %(default)s",
    )
    train.add_argument(
        "--accumulate",
        type=_positive(int),
        default=1,
        metavar="N",
        help="batches in an optimiser step; default: %(default)s",
    )
    train.add_argument(
        "--lr", type=_positive(float), help="peak learning rate; default: follows from the batch"
    )
    train.add_argument(
        "--size",
        type=_side,
        help="short side at test time in px; default: 800, for mvitv2_nano 256",
    )
    train.add_argument(
        "--augmentation",
        default="multiscale",
        choices=("flip", "multiscale", "lsj"),
        help="flip keeps the size, multiscale is the 36-epoch recipe, lsj is large-scale "
        "jittering on a square of --size; default: %(default)s",
    )
    train.add_argument("--clip-norm", type=_positive(float), help="limit on the gradient's norm")
    train.add_argument(
        "--recompute",
        default="none",
        choices=RECOMPUTE,
        help="what the backward pass computes again, to save memory: cheap is norms and activations, "
        "block is all; default: %(default)s",
    )
    train.add_argument("--seed", type=_at_least_0(int), default=0, help="default: %(default)s")
    _add_machine(train)
    start = train.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on with the run in --out")
    _add_overwrite(start)

    evaluate = add(
        "eval",
        "evaluate a checkpoint by COCO's average precision",
        "mvit-det eval --checkpoint runs/demo/best.ckpt --json runs/demo/shapes/val.json "
        "--images runs/demo/shapes/images --out runs/eval",
    )
    _add_checkpoint(evaluate)
    _add_data(evaluate)
    _add_machine(evaluate)
    _add_overwrite(evaluate)

    predict = add(
        "predict",
        "detect objects in a picture, a folder of pictures or a video",
        "mvit-det predict runs/demo/shapes/images --checkpoint runs/demo/best.ckpt --out runs/found",
    )
    predict.add_argument("source", type=Path, help="a picture, a folder of pictures or a video")
    _add_checkpoint(predict)
    predict.add_argument(
        "--score", type=_at_least_0(float), default=0.5, help="lowest score drawn; default: %(default)s"
    )
    _add_overwrite(predict)

    convert = add(
        "convert",
        "write weights as safetensors, or as Detectron2 reads them",
        "mvit-det convert runs/demo/best.ckpt runs/demo/best.pth",
    )
    convert.add_argument("source", help="a file, a URL or detectron2://...: a published one or our own")
    convert.add_argument("out", type=Path, help="ends with .safetensors or, for Detectron2, with .pth")
    convert.add_argument(
        "--json", type=Path, help="COCO-format JSON that names a detector's classes, where its file does not"
    )

    inspect = add(
        "inspect",
        "say what a file of weights holds",
        "mvit-det inspect runs/demo/best.ckpt",
    )
    inspect.add_argument("source", help="a file, a URL or detectron2://...")

    info = add(
        "info",
        "show the variants: parameters, multiply-adds, output shapes",
        "mvit-det info mvitv2_t --size 800 1216",
    )
    info.add_argument("variant", nargs="?", help="default: all")
    info.add_argument(
        "--size",
        type=_positive(int),
        nargs=2,
        default=(800, 1216),
        metavar=("HEIGHT", "WIDTH"),
        help="in px; default: 800 1216",
    )

    add("doctor", "say what is installed, what works, and how to mend what does not", "mvit-det doctor")
    return parser


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", type=Path, required=True, help="COCO-format JSON")
    command.add_argument("--images", type=Path, required=True, help="folder of its pictures")


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        required=True,
        metavar="SOURCE",
        help="a best.ckpt, or a detector's .safetensors, .pth or .pkl: a file, a URL or detectron2://...",
    )
    command.add_argument("--out", type=Path, required=True, help="folder for the results")


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="default: %(default)s",
    )
    command.add_argument("--devices", type=_positive(int), default=1, metavar="N", help="GPUs; default: 1")
    command.add_argument(
        "--workers", type=_at_least_0(int), metavar="N", help="loading processes for each device"
    )
    command.add_argument(
        "--draw",
        type=_at_least_0(int),
        default=8,
        metavar="N",
        help="pictures to draw truth and detections of; default: %(default)s",
    )


def _add_overwrite(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace another run's files and folders in --out, logs and pictures with all they hold",
    )


def _positive(kind: type) -> Callable[[str], Any]:
    return _checked(kind, lambda value: 0 < value < float("inf"), "must be above 0")


def _at_least_0(kind: type) -> Callable[[str], Any]:
    return _checked(kind, lambda value: 0 <= value < float("inf"), "must be 0 or more")


def _side(text: str) -> int:
    return int(_checked(int, lambda value: value >= 32, "must be at least 32 px")(text))


def _checked(kind: type, is_good: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = kind(text)
        if not is_good(value):
            raise argparse.ArgumentTypeError(f"{text} {wanted}")
        return value

    parse.__name__ = kind.__name__  # argparse names the type after it
    return parse
