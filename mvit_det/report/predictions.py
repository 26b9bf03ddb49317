"""Detection on images and videos, with annotated copies and a COCO results file as output."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import supervision as sv
from rich.console import Console

from mvit_det.data.downloads import is_url
from mvit_det.data.frame_sources import Source, find_images, find_video, open_source_video
from mvit_det.data.frames import Frame, read_frames, report_errors
from mvit_det.data.json_files import growing_json_list
from mvit_det.data.videos import Video
from mvit_det.engine.interruption import accept_interrupt, deferred_interrupts
from mvit_det.errors import ImageError, InputError, RunError, counted
from mvit_det.report import run_folder
from mvit_det.report.console import print_line, progress_bar
from mvit_det.report.detections import draw_detections, to_entries
from mvit_det.report.drawing import RgbImage
from mvit_det.report.prediction_writers import Writer, image_writer, video_writer
from mvit_det.report.run_lock import run_lock
from mvit_det.report.tracking import not_a_video, track_objects

# Takes images; yields each with its detections, highest score first. Class ids are category ids.
Detect = Callable[[Iterable[Frame]], Iterator[tuple[Frame, sv.Detections]]]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of a prediction that both integrations have."""

    sources: Sequence[Source]
    checkpoint: Path
    out: Path
    score: float = 0.5
    pictures: bool = True
    overwrite: bool = False
    strict: bool = False
    track: bool = False


def write_detections(
    options: PredictOptions, detect: Detect, categories: Mapping[int, str], console: Console
) -> None:
    """Detect objects in images, in the images of folders, in a video, or with a camera.

    Writes three things to ``options.out``: copies of the images or the video, with detections drawn that have
    a score of at least ``options.score``; a COCO results file of all detections; and a COCO file of the
    images and categories that the results refer to. Reading, detection and writing overlap. After an
    interrupt or an error, the files contain all images until then. With ``options.track``, the objects of a
    video have numbers that are constant over its frames. Without ``options.pictures``, nothing is drawn.

    Args:
        options: the input, the output folder and the score.
        detect: function from images to images and detections.
        categories: category id -> name.
        console: prints progress and a summary.

    Raises:
        InputError: if the input or the output folder cannot be used, in which case nothing is written. With
            ``options.strict``, this is the case if any image cannot be read.
        RunError: at the end, if images were left out because they cannot be read, or if a video is truncated.
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

    writer: AbstractContextManager[Writer | None]  # writes nothing until it is entered
    pictures = options.out / run_folder.PICTURES
    source = find_video(options.sources)
    if source is not None:
        video = _open_video(source, options, console)
        frames, total = report_errors(video.frames, unreadable.append), video.num_frames
        if options.track:
            detect = _with_tracks(detect, video.rate, options.score)
        writer = video_writer(pictures, video, draw)
    else:
        images = _find_images(options, console)
        if options.track:
            raise not_a_video(options.sources)
        is_strict = options.strict or len(images) == 1
        frames, total = read_frames(images, None if is_strict else report), len(images)
        writer = image_writer(pictures, images, draw)
    if not options.pictures:
        writer = nullcontext()
    start = time.monotonic()
    with closing(progress_bar(detect(frames), total, "detecting", console)) as predictions:
        first = next(predictions, None)  # before the folder is cleared
        if first is None:
            raise InputError(f"none of the {total} images can be read")
        run_folder.clear_output(options.out, run_folder.RESULT_FILES)
        num_images, num_drawn, error = _write_all(options, writer, chain([first], predictions), categories)
    if source is not None and video.file is None and isinstance(error, KeyboardInterrupt):
        accept_interrupt()  # the end of a camera, which has no other
        error = None
    rate = num_images / (time.monotonic() - start)
    noun = "image" if source is None else "frame"
    print_line(
        console,
        f"wrote {options.out}: {counted(num_drawn, 'detection')} with a score of at least {options.score:g} "
        f"on {counted(num_images, noun)}; {rate:.3g} {noun}s per second",
    )
    if error is not None:
        raise error
    if source is not None and unreadable:
        raise RunError(str(unreadable[0]))
    if unreadable:
        raise RunError(f"{counted(len(unreadable), 'image')} of {total} could not be read; see above")


def _with_tracks(detect: Detect, rate: float, min_score: float) -> Detect:
    return lambda frames: track_objects(detect(frames), rate, min_score)


def _open_video(source: Source, options: PredictOptions, console: Console) -> Video:
    """Open a video. With ``options.strict``, check that all of its frames can be read."""

    def read_all(video: Video) -> None:
        for _ in progress_bar(video.frames, video.num_frames, "checking frames", console):
            pass

    return open_source_video(source, read_all if options.strict else None)


def _find_images(options: PredictOptions, console: Console) -> dict[str, Path | str]:
    """Return the images in the sources. With ``options.strict``, check that all of them can be read."""
    videos: list[Path] = []
    images = find_images(options.sources, left_out=options.out, on_video=videos.append)
    if videos:
        print_line(
            console,
            f"{videos[0]}: {counted(len(videos), 'video')} in folders left out; a video must be the only "
            "source",
        )
    if options.strict and len(images) > 1:  # a single image is read before anything is written
        for _ in progress_bar(read_frames(images), len(images), "checking images", console):
            pass
    return images


def _write_all(
    options: PredictOptions,
    writer: AbstractContextManager[Writer | None],
    predictions: Iterable[tuple[Frame, sv.Detections]],
    categories: Mapping[int, str],
) -> tuple[int, int, BaseException | None]:
    """Write the detections as they come.

    Returns:
        the number of images, the number of detections that were drawn, and the error or interrupt that ended
        ``predictions`` early, in spite of which the files are complete.
    """
    data = {
        "annotations": [],
        "categories": [{"id": id_, "name": name} for id_, name in categories.items()],
        "images": [],
    }
    num_images = num_drawn = 0
    stopped: BaseException | None = None
    with (
        _removed_if_empty(options.out / run_folder.PICTURES),
        writer as drawings,  # ends after the JSON files: drawings may take long
        growing_json_list(options.out / run_folder.IMAGES, data) as append_image,
        growing_json_list(options.out / run_folder.DETECTIONS) as append_detection,
    ):
        try:
            for frame, detections in predictions:
                with deferred_interrupts():  # all files contain the same images
                    num_images += 1
                    height, width = frame.image.shape[:2]
                    image = {"id": num_images, "file_name": frame.name}
                    append_image(image | {"width": width, "height": height})
                    for entry in to_entries(num_images, detections):
                        append_detection(entry)
                        num_drawn += entry["score"] >= options.score
                    if drawings is not None:
                        drawings.write(frame, detections)
        except BaseException as error:
            stopped = error
    return num_images, num_drawn, stopped


def _check_output(options: PredictOptions) -> None:
    run_folder.refuse_training_run(options.out)
    inputs = (*(Path(source) for source in options.sources if not is_url(source)), options.checkpoint)
    run_folder.check_output(options.out, run_folder.RESULT_FILES, options.overwrite, inputs)


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
