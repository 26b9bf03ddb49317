"""``mvit-det predict``: detect objects in images, in folders of images, in a video, or with a camera."""

import argparse
from pathlib import Path
from typing import Any

from mvit_det.cli.arguments import (
    add_checkpoint_arguments,
    add_inference_precision,
    add_overwrite_argument,
    image_side,
    overlap,
    positive,
)

HELP = "detect objects in images, in a video or with a camera"
EXAMPLE = "mvit-det predict runs/demo/shapes/images --checkpoint runs/demo/best.ckpt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="source",
        help="images, their URLs, and folders, which are searched with their subfolders; or a video or its "
        "URL (.avi, .m4v, .mkv, .mov, .mp4, .mpeg, .mpg, .webm or .wmv); or a camera (0 or camera:0 is the "
        "first one)",
    )
    add_checkpoint_arguments(parser, Path("runs/predictions"))
    parser.add_argument(
        "--score",
        type=float,
        default=0.5,
        help="minimum score of a drawn detection, 0 to 1; default: %(default)s",
    )
    add_inference_precision(parser, default="auto")
    parser.add_argument(
        "--batch-size", type=positive(int), default=8, help="images at a time; default: %(default)s"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="detect nothing if an image cannot be read or a video is truncated; by default, what can be "
        "read is detected, and the exit status is 1",
    )
    parser.add_argument(
        "--slice",
        type=image_side(),
        dest="slice_size",
        metavar="PX",
        help="cut images that are larger into overlapping slices of this size, to find small objects",
    )
    parser.add_argument(
        "--overlap",
        type=overlap(),
        metavar="PART",
        help="part of a slice that the next one covers, at least 0 and less than 1; default: 0.2",
    )
    parser.add_argument(
        "--no-pictures",
        action="store_false",
        dest="pictures",
        help="write the results only, and no copies of the images or the video with drawn detections",
    )
    parser.add_argument(
        "--track", action="store_true", help="number the objects of a video, and follow them over its frames"
    )
    add_overwrite_argument(parser)


def run(
    checkpoint: str,
    soft_nms: str | None,
    precision: str,
    batch_size: int,
    slice_size: int | None,
    overlap: float | None,
    **options: Any,
) -> None:
    """Detect objects, and write a COCO results file and annotated copies."""
    from mvit_det.errors import InputError
    from mvit_det.report.predictions import PredictOptions
    from mvit_det.report.run_folder import find_checkpoint
    from mvit_det.torchvision.predict import predict
    from mvit_det.weights import local_file
    from mvit_det.weights.published import DETECTOR

    if overlap is not None and slice_size is None:
        raise InputError("--overlap needs --slice, the size of a slice")
    path = find_checkpoint(local_file(checkpoint, DETECTOR))
    predict(
        PredictOptions(checkpoint=path, **options),
        batch_size=batch_size,
        soft_nms=soft_nms,
        precision=precision,
        slice_size=slice_size,
        overlap=overlap,
    )
