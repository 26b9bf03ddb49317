"""A sheet of sample images of a data set with their objects."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mvit_det.data.dataset import Dataset
from mvit_det.data.images import read_entry
from mvit_det.errors import InputError, counted
from mvit_det.report.drawing import RgbImage, draw_entries, write_image

COLUMNS, ROWS = 4, 3
TILE = 440  # px; the longer side of an image on the sheet
TITLE = 22  # px; the height of the line above an image
GAP = 10  # px; between images
MAX_TITLE = 54  # characters


def draw_samples(splits: Mapping[str, Dataset], path: Path) -> list[str]:
    """Draw images with their objects on one sheet.

    The images are evenly spread over those with objects. If there are several splits, each has its own rows.
    Images that cannot be read, or do not have the size that the data set states, are left out.

    Args:
        splits: name of each split -> its data set; the first three are drawn.
        path: image file to write.

    Returns:
        What is wrong with each image that was left out. If there is no image to draw, nothing is written.
    """
    splits = dict(list(splits.items())[:ROWS])
    rows: list[RgbImage] = []
    errors: list[str] = []
    for index, (name, dataset) in enumerate(splits.items()):
        num_rows = sum(row * len(splits) // ROWS == index for row in range(ROWS))
        prefix = f"{name}: " if len(splits) > 1 else ""
        samples = _samples(dataset, COLUMNS * num_rows, errors)
        tiles = [_tile(image, entry, dataset, prefix) for image, entry in samples]
        rows += [_join(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    if rows:
        write_image(path, np.concatenate(rows))
    return errors


def _samples(
    dataset: Dataset, num_images: int, errors: list[str]
) -> Iterator[tuple[RgbImage, dict[str, Any]]]:
    """Yield the pixels and the entries of images that are spread over the data set.

    What is wrong with images that cannot be drawn is appended to ``errors``.
    """
    entries = [entry for entry in dataset.coco.dataset["images"] if dataset.coco.imgToAnns.get(entry["id"])]
    num_images = min(num_images, len(entries))
    for index in range(num_images):
        start, end = (len(entries) * position // num_images for position in (index, index + 1))
        for entry in entries[start:end][:COLUMNS]:  # the next ones take the place of one that cannot be read
            try:
                image = read_entry(dataset.images, entry)
            except InputError as error:
                errors.append(str(error))
                continue
            yield np.asarray(image), entry
            break


def _tile(image: RgbImage, entry: dict[str, Any], dataset: Dataset, prefix: str) -> RgbImage:
    """Return an image with its objects, scaled to the sheet, below a line with its name."""
    scale = TILE / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
    annotations = [each for each in dataset.coco.imgToAnns[entry["id"]] if not each["iscrowd"]]
    drawn = draw_entries(scaled, annotations, dataset.categories, image.shape[:2])
    start = f"{prefix}{counted(len(annotations), 'object')}, "
    return _cell(drawn, start + _shorten(entry["file_name"], MAX_TITLE - len(start)))


def _cell(image: RgbImage, title: str) -> RgbImage:
    cell = Image.new("RGB", (TILE + GAP, image.shape[0] + TITLE + GAP), "white")
    ImageDraw.Draw(cell).text((GAP, GAP // 2), title, fill="black", font_size=13)
    cell.paste(Image.fromarray(image), (GAP, TITLE))
    return np.asarray(cell)


def _join(cells: list[RgbImage]) -> RgbImage:
    """Return one row of the sheet."""
    height = max(cell.shape[0] for cell in cells)
    row = np.full((height, COLUMNS * (TILE + GAP) + GAP, 3), 255, np.uint8)
    for column, cell in enumerate(cells):
        start = column * (TILE + GAP)
        row[: cell.shape[0], start : start + TILE + GAP] = cell
    return row


def _shorten(name: str, max_length: int) -> str:
    """Return the end of a name that is too long, which tells files of one folder apart."""
    return name if len(name) <= max_length else f"...{name[3 - max_length :]}"
