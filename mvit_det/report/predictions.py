"""Detection on images and videos, with annotated copies and a COCO results file as output."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import supervision as sv
from rich.console import Console

from mvit_det.data.frames import Frame, find_images, find_video, open_video, read_frames
from mvit_det.data.json_files import growing_json_list
from mvit_det.errors import ImageError, InputError, RunError, counted
from mvit_det.report import run_folder
from mvit_det.report.console import print_line, track
from mvit_det.report.detections import draw_detections, to_entries
from mvit_det.report.drawing import RgbImage
from mvit_det.report.prediction_writers import ImageWriter, VideoWriter
from mvit_det.report.run_lock import run_lock
from mvit_det.report.tracking import not_a_video, track_objects

# Takes images; yields each with its detections, highest score first. Class ids are category ids.
Detect = Callable[[Iterable[Frame]], Iterator[tuple[Frame, sv.Detections]]]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of a prediction that both integrations have."""

    sources: Sequence[Path]
    checkpoint: Path
    out: Path
    score: float = 0.5
    overwrite: bool = False
    strict: bool = False
    track: bool = False


def write_detections(
    options: PredictOptions, detect: Detect, categories: Mapping[int, str], console: Console
) -> None:
    """Detect objects in images, in the images of folders, or in a video.

    Writes three things to ``options.out``: copies of the images or the video, with detections drawn that have
    a score of at least ``options.score``; a COCO results file of all detections; and a COCO file of the
    images and categories that the results refer to. Reading, detection and writing of images overlap.
    With ``options.track``, the objects of a video have numbers that are constant over its frames.

    Args:
        options: the input, the output folder and the score.
        detect: function from images to images and detections.
        categories: category id -> name.
        console: prints progress and a summary.

    Raises:
        InputError: if the input or the output folder cannot be used, in which case nothing is written; or,
            with ``options.strict``, if an image cannot be read.
        RunError: at the end, if images were left out because they cannot be read.
    """
    if not 0 <= options.score <= 1:
        raise InputError(f"score {options.score:g}: must be from 0 to 1")
    _check_output(options)
    with run_lock(options.out, partial(print_line, console)):
        _check_output(options)  # again: another command may have used the folder since
        _write_detections(options, detect, categories, console)


def _write_detections(
    options: PredictOptions, detect: Detect, categories: Mapping[int, str], console: Console
) -> None:
    unreadable: list[ImageError] = []

    def report(error: ImageError) -> None:
        unreadable.append(error)
        print_line(console, f"{error}; left out")

    def draw(frame: Frame, detections: sv.Detections) -> RgbImage:
        return draw_detections(frame.image, detections, categories, options.score)

    writer: VideoWriter | ImageWriter
    path = find_video(options.sources)
    if path is not None:
        video = open_video(path)
        frames, total = video.frames, video.num_frames
        if options.track:
            detect = _with_tracks(detect, video.rate, options.score)
        writer = VideoWriter(options.out / run_folder.PICTURES, video, draw)
    else:
        images = find_images(options.sources, left_out=options.out)
        if options.track:
            raise not_a_video(options.sources)
        is_strict = options.strict or len(images) == 1
        frames, total = read_frames(images, None if is_strict else report), len(images)
        writer = ImageWriter(options.out / run_folder.PICTURES, draw)
    start = time.monotonic()
    predictions = iter(track(detect(frames), total, "detecting", console))
    first = next(predictions, None)  # before the folder is cleared
    if first is None:
        raise InputError(f"none of the {total} images can be read")
    run_folder.clear_output(options.out, run_folder.RESULT_FILES)
    num_images, num_drawn = _write_all(options, writer, chain([first], predictions), categories)
    rate = num_images / (time.monotonic() - start)
    print_line(
        console,
        f"wrote {options.out}: {counted(num_drawn, 'detection')} with a score of at least {options.score:g} "
        f"on {counted(num_images, 'image')}; {rate:.3g} images per second",
    )
    if path is not None and num_images < total:
        print_line(console, f"{path}: states {total} frames, of which {num_images} could be read")
    if unreadable:
        raise RunError(f"{counted(len(unreadable), 'image')} of {total} could not be read; see above")


def _with_tracks(detect: Detect, rate: float, min_score: float) -> Detect:
    return lambda frames: track_objects(detect(frames), rate, min_score)


def _write_all(
    options: PredictOptions,
    writer: VideoWriter | ImageWriter,
    predictions: Iterable[tuple[Frame, sv.Detections]],
    categories: Mapping[int, str],
) -> tuple[int, int]:
    """Write the detections as they come; return the numbers of images and of drawn detections."""
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
        writer,
    ):
        for frame, detections in predictions:
            num_images += 1
            height, width = frame.image.shape[:2]
            append_image({"id": num_images, "file_name": frame.name, "width": width, "height": height})
            for entry in to_entries(num_images, detections):
                append_detection(entry)
                num_drawn += entry["score"] >= options.score
            writer.write(frame, detections)
    return num_images, num_drawn


def _check_output(options: PredictOptions) -> None:
    run_folder.refuse_training_run(options.out)
    inputs = (*options.sources, options.checkpoint)
    run_folder.check_output(options.out, run_folder.RESULT_FILES, options.overwrite, inputs)


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
