"""Detection on pictures and videos: annotated copies and a COCO results file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # our own error line is enough

import cv2
import numpy as np
import supervision as sv
import torch
from rich.console import Console
from torchvision.models.detection import MaskRCNN
from torchvision.transforms.v2 import functional as F

from mvit_det.coco.results import write_json
from mvit_det.errors import InputError
from mvit_det.images import SUFFIXES, find_images, read_image
from mvit_det.torchvision import run_folder
from mvit_det.torchvision.checkpoint import DetectorConfig, load_detector
from mvit_det.torchvision.module import prediction_to_results
from mvit_det.torchvision.progress import track
from mvit_det.torchvision.report import draw_results
from mvit_det.torchvision.trainer import build_console
from mvit_det.visualize import Picture, write_image

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"))


@dataclass(frozen=True)
class PredictOptions:
    """What a prediction takes; the fields are the arguments of ``mvit-det predict``."""

    source: Path
    checkpoint: Path
    out: Path
    score: float = 0.5
    overwrite: bool = False


def predict(options: PredictOptions) -> None:
    """Detect objects in a picture, a folder of pictures or a video.

    Writes annotated copies with the detections of at least ``options.score``; every detection as a
    COCO results file; and the pictures and categories as a COCO file, which the results refer to.

    Raises:
        InputError: before anything is written, for what cannot be used.
    """
    console = build_console()
    detector, config = load_detector(options.checkpoint)
    detector.to("cuda" if torch.cuda.is_available() else "cpu")
    run_folder.refuse_training_run(options.out)
    inputs = (options.source, options.checkpoint)
    run_folder.check_output(options.out, run_folder.OF_RESULTS, options.overwrite, inputs)
    if options.source.suffix.lower() in VIDEO_SUFFIXES:
        images, results = _predict_video(options, detector, config, console)
    else:
        images, results = _predict_images(options, detector, config, console)
    categories = [{"id": id_, "name": name} for id_, name in config.categories.items()]
    described = {"images": images, "annotations": [], "categories": categories}
    write_json(options.out / run_folder.IMAGES, described)
    write_json(options.out / run_folder.DETECTIONS, results)
    drawn = sum(entry["score"] >= options.score for entry in results)
    console.print(
        f"wrote {options.out}: {drawn} detections with a score of at least {options.score:g} on "
        f"{len(images)} {'picture' if len(images) == 1 else 'pictures'}",
        highlight=False,
        soft_wrap=True,
    )


@torch.inference_mode()
def detect(detector: MaskRCNN, config: DetectorConfig, image: Picture, image_id: int) -> list[dict[str, Any]]:
    """Return the COCO results entries of one (H, W, 3) RGB picture, best first."""
    device = next(detector.parameters()).device
    tensor = F.to_dtype(F.to_image(image), torch.float32, scale=True)
    return prediction_to_results(detector([tensor.to(device)])[0], image_id, config)


def _predict_images(
    options: PredictOptions, detector: MaskRCNN, config: DetectorConfig, console: Console
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    paths = find_images(options.source)
    for path in track(paths, len(paths), "checking pictures", console):
        read_image(path)
    run_folder.clear_output(options.out, run_folder.OF_RESULTS)
    images, results = [], []
    for image_id, path in enumerate(track(paths, len(paths), "detecting", console), start=1):
        image = np.array(read_image(path))
        found = detect(detector, config, image, image_id)
        images.append(_image_entry(image_id, path.name, image))
        results += found
        name = path.name if path.suffix.lower() in SUFFIXES else f"{path.name}.png"
        write_image(options.out / run_folder.PICTURES / name, _drawn(image, found, options, config))
    return images, results


def _predict_video(
    options: PredictOptions, detector: MaskRCNN, config: DetectorConfig, console: Console
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    frames, info = _open_video(options.source)
    run_folder.clear_output(options.out, run_folder.OF_RESULTS)
    folder = options.out / run_folder.PICTURES
    folder.mkdir(exist_ok=True)
    images, results = [], []
    with sv.VideoSink(str(folder / f"{options.source.stem}.mp4"), info) as sink:
        total = info.total_frames or 0
        for image_id, frame in enumerate(track(frames, total, "detecting", console), start=1):
            found = detect(detector, config, frame, image_id)
            name = f"{options.source.name}#{image_id}"  # the frame, counted from 1
            images.append(_image_entry(image_id, name, frame))
            results += found
            drawn = _drawn(frame, found, options, config)
            sink.write_frame(np.ascontiguousarray(drawn[:, :, ::-1]))  # BGR
    return images, results


def _open_video(path: Path) -> tuple[Iterator[Picture], sv.VideoInfo]:
    """Return the RGB frames of a video, upright as OpenCV turns them, and its size and rate."""
    if not path.exists():
        raise InputError(f"{path}: no such video")
    video = cv2.VideoCapture(str(path))
    is_read, first = video.read()
    if not is_read:
        raise InputError(f"{path}: is no video that OpenCV can read")
    height, width = first.shape[:2]
    rate = video.get(cv2.CAP_PROP_FPS)
    info = sv.VideoInfo(
        width=width,
        height=height,
        fps=rate if 1 <= rate <= 1000 else 25.0,
        total_frames=max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))),
    )

    def frames() -> Iterator[Picture]:
        frame = first
        more = True
        while more:
            yield np.ascontiguousarray(frame[:, :, ::-1])
            more, frame = video.read()
        video.release()

    return frames(), info


def _image_entry(image_id: int, name: str, image: Picture) -> dict[str, Any]:
    return {"id": image_id, "file_name": name, "width": image.shape[1], "height": image.shape[0]}


def _drawn(
    image: Picture, found: list[dict[str, Any]], options: PredictOptions, config: DetectorConfig
) -> Picture:
    shown = [entry for entry in found if entry["score"] >= options.score]
    return draw_results(image, shown, config.categories)
