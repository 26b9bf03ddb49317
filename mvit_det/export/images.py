"""The images on which an export is checked: the user's or generated ones, of at least five sizes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from mvit_det.data.dataset import Dataset
from mvit_det.data.frame_sources import find_images
from mvit_det.data.frames import Frame, read_frames
from mvit_det.data.shapes import SIDE, draw_image
from mvit_det.data.sources import read_evaluation_set, with_category_ids
from mvit_det.errors import InputError
from mvit_det.report.console import check_images_with_progress, progress_bar
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig

MIN_SIZES = 5
# (height, width) of the generated images, px. Their aspect ratios differ, because a detector scales images of
# the same aspect ratio to the same size.
GENERATED_SIZES = ((448, 448), (480, 640), (640, 400), (300, 800), (700, 250))
# Factors by which the height and the width of an image are scaled to get images of other aspect ratios.
FACTORS = ((1.0, 0.75), (0.6, 1.0), (1.0, 0.5), (0.4, 1.0), (0.8, 0.9))


def generated_frames() -> Iterator[Frame]:
    """Yield a scene of shapes in each of five sizes. They are the same in every call."""
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate(GENERATED_SIZES, start=1):
        tiles = [
            [draw_image(random)[0] for _ in range(math.ceil(width / SIDE))]
            for _ in range(math.ceil(height / SIDE))
        ]
        image = np.concatenate([np.concatenate(row, axis=1) for row in tiles])[:height, :width]
        yield Frame("", f"shapes {number}", image)


def frames_of_several_sizes(images: Mapping[str, Path | str]) -> Iterator[Frame]:
    """Yield images and, if they have fewer than five sizes, scaled copies with other aspect ratios.

    Args:
        images: name -> path.

    Raises:
        ImageError: for an image that cannot be read.
    """
    sizes = set()
    first: list[Frame] = []
    for frame in read_frames(images):
        sizes.add(frame.image.shape[:2])
        first = [*first, frame][: len(FACTORS)]
        yield frame
    for frame, (factor_y, factor_x) in zip(cycle(first), FACTORS, strict=False):
        height, width = frame.image.shape[:2]
        height, width = math.ceil(height * factor_y), math.ceil(width * factor_x)
        if len(sizes) < MIN_SIZES and (height, width) not in sizes:
            sizes.add((height, width))
            scaled = np.array(Image.fromarray(frame.image).resize((width, height)))
            yield Frame(frame.path, f"{frame.name}, scaled", scaled)


def read_annotations(
    json: Path,
    images: str | Path | Sequence[str | Path] | None,
    config: DetectorConfig,
    checkpoint: Path,
    console: Console,
) -> Dataset:
    """Return the data set with the category ids of the detector, after reading all of its images."""
    if images is not None and not isinstance(images, str | Path):
        if len(images) != 1:
            raise InputError(f"{json}: expected one folder of its images, not {len(images)}")
        images = images[0]
    dataset = read_evaluation_set(json=json, images=None if images is None else Path(images))
    config.with_ids_of(dataset.categories, checkpoint, dataset.source)  # raises an error if they differ
    return with_category_ids(check_images_with_progress(dataset, console), config.categories)


def find_check_images(
    images: str | Path | Sequence[str | Path] | None, dataset: Dataset | None, console: Console
) -> Mapping[str, Path | str]:
    """Return the names and paths of the images, after reading all of them once."""
    if dataset is not None:
        names = [image["file_name"] for image in dataset.coco.imgs.values()]
        return {name: dataset.images / name for name in names}
    if images is None:
        return {}
    paths = find_images([images] if isinstance(images, str | Path) else images)
    for _ in progress_bar(read_frames(paths), len(paths), "checking images", console):
        pass
    return paths
