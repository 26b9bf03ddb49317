"""Detection on images and videos, with annotated copies and a COCO results file as output."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision as sv
from rich.console import Console

from mvit_det.data.images import SUFFIXES, find_images, read_image
from mvit_det.data.json_files import growing_json_list
from mvit_det.errors import InputError, RunError, counted
from mvit_det.files import describe_space
from mvit_det.report import run_folder
from mvit_det.report.console import print_line, track
from mvit_det.report.drawing import RgbImage, draw_entries, write_image
from mvit_det.report.run_lock import run_lock

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"))

Entries = list[dict[str, Any]]
Detect = Callable[[RgbImage, int], Entries]  # image, image id -> COCO results entries, best first


@dataclass(frozen=True)
class PredictOptions:
    """The options of a prediction. The fields are the arguments of ``mvit-det predict``."""

    source: Path
    checkpoint: Path
    out: Path
    score: float = 0.5
    overwrite: bool = False


def write_detections(
    options: PredictOptions, detect: Detect, categories: Mapping[int, str], console: Console
) -> None:
    """Detect objects in an image, a folder of images or a video.

    Writes three things to ``options.out``: copies of the images or the video, with detections drawn that have
    a score of at least ``options.score``; a COCO results file of all detections; and a COCO file of the
    images and categories that the results refer to.

    Args:
        options: the input, the output folder and the score.
        detect: function from an RGB image and its id to the entries of its detections, best first.
        categories: category id -> name.
        console: prints progress and a summary.

    Raises:
        InputError: if the input or the output folder cannot be used, in which case nothing is written.
    """
    _check_output(options)
    with run_lock(options.out, partial(print_line, console)):
        _check_output(options)  # again: another command may have used the folder since
        _write_detections(options, detect, categories, console)


def _write_detections(
    options: PredictOptions, detect: Detect, categories: Mapping[int, str], console: Console
) -> None:
    if options.source.suffix.lower() in VIDEO_SUFFIXES:
        frames, info = _open_video(options.source)
        predictions = _predict_video(options, frames, info, detect, categories, console)
    else:
        paths = _find_images(options.source, console)
        predictions = _predict_images(options, paths, detect, categories, console)
    run_folder.clear_output(options.out, run_folder.RESULT_FILES)
    data = {
        "annotations": [],
        "categories": [{"id": id_, "name": name} for id_, name in categories.items()],
        "images": [],
    }
    num_images = num_drawn = 0
    with (
        growing_json_list(options.out / run_folder.IMAGES, data) as append_image,
        growing_json_list(options.out / run_folder.DETECTIONS) as append_detection,
        _removed_if_empty(options.out / run_folder.PICTURES),
        closing(predictions),
    ):
        for image, detections in predictions:
            append_image(image)
            for entry in detections:
                append_detection(entry)
                num_drawn += entry["score"] >= options.score
            num_images += 1
    print_line(
        console,
        f"wrote {options.out}: {counted(num_drawn, 'detection')} with a score of at least {options.score:g} "
        f"on {counted(num_images, 'image')}",
    )


def _check_output(options: PredictOptions) -> None:
    run_folder.refuse_training_run(options.out)
    inputs = (options.source, options.checkpoint)
    run_folder.check_output(options.out, run_folder.RESULT_FILES, options.overwrite, inputs)


def _find_images(source: Path, console: Console) -> list[Path]:
    """Return the paths of the images in a folder, or of one image, all of which can be read."""
    paths = find_images(source)
    for path in track(paths, len(paths), "checking images", console):
        read_image(path)
    return paths


def _predict_images(
    options: PredictOptions,
    paths: list[Path],
    detect: Detect,
    categories: Mapping[int, str],
    console: Console,
) -> Generator[tuple[dict[str, Any], Entries], None, None]:
    """Draw the detections in each image; return the entry of the image and those of its detections."""
    for image_id, path in enumerate(track(paths, len(paths), "detecting", console), start=1):
        image = np.array(read_image(path))
        detections = detect(image, image_id)
        name = path.name if path.suffix.lower() in SUFFIXES else f"{path.name}.png"
        drawn = _draw(image, detections, options.score, categories)
        write_image(options.out / run_folder.PICTURES / name, drawn)
        yield _image_entry(image_id, path.name, image), detections


def _predict_video(
    options: PredictOptions,
    frames: Iterator[RgbImage],
    info: sv.VideoInfo,
    detect: Detect,
    categories: Mapping[int, str],
    console: Console,
) -> Generator[tuple[dict[str, Any], Entries], None, None]:
    """Draw the detections in each frame; return the entry of the frame and those of its detections."""
    folder = options.out / run_folder.PICTURES
    folder.mkdir(exist_ok=True)
    path = folder / f"{options.source.stem}.mp4"
    with _removed_if_incomplete(path), sv.VideoSink(str(path), info) as sink:
        total = info.total_frames or 0
        for image_id, frame in enumerate(track(frames, total, "detecting", console), start=1):
            detections = detect(frame, image_id)
            name = f"{options.source.name}#{image_id}"  # frames are counted from 1
            drawn = _draw(frame, detections, options.score, categories)
            sink.write_frame(np.ascontiguousarray(drawn[:, :, ::-1]))  # RGB to BGR
            yield _image_entry(image_id, name, frame), detections


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _removed_if_incomplete(path: Path) -> Iterator[None]:
    """Remove a video that is being written if there is an exception, or if OpenCV cannot read it afterward.

    Raises:
        RunError: if it cannot be read. OpenCV does not report errors when it writes.
    """
    try:
        yield
        if not cv2.VideoCapture(str(path)).read()[0]:
            raise RunError(f"{path}: could not be written: {describe_space(path.parent)}")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _open_video(path: Path) -> tuple[Iterator[RgbImage], sv.VideoInfo]:
    """Return an iterator over the RGB frames of a video, and its size, frame rate and number of frames.

    OpenCV rotates the frames as the file specifies.
    """
    if not path.exists():
        raise InputError(f"{path}: no such video")
    # Keeps FFmpeg from printing to stderr. OpenCV reads the variable when it opens the first video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    video = cv2.VideoCapture(str(path))
    is_read, first = video.read()
    if not is_read:
        raise InputError(f"{path}: is not a video that OpenCV can read")
    height, width = first.shape[:2]
    rate = video.get(cv2.CAP_PROP_FPS)
    info = sv.VideoInfo(
        width=width,
        height=height,
        fps=rate if 1 <= rate <= 1000 else 25.0,
        total_frames=max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))),
    )

    def frames() -> Iterator[RgbImage]:
        is_read, frame = True, first
        while is_read:
            yield np.ascontiguousarray(frame[:, :, ::-1])  # BGR to RGB
            is_read, frame = video.read()
        video.release()

    return frames(), info


def _image_entry(image_id: int, name: str, image: RgbImage) -> dict[str, Any]:
    return {"id": image_id, "file_name": name, "width": image.shape[1], "height": image.shape[0]}


def _draw(image: RgbImage, detections: Entries, min_score: float, categories: Mapping[int, str]) -> RgbImage:
    return draw_entries(image, [entry for entry in detections if entry["score"] >= min_score], categories)
