"""Drawings of the ground truth and the detections side by side."""

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from mvit_det.data.coco.index import category_names
from mvit_det.data.images import read_entry
from mvit_det.errors import ImageError, printable
from mvit_det.report.drawing import draw_entries, enlarge, side_by_side, write_image

MIN_SCORE = 0.5  # detections below it are not drawn


def draw_comparisons(
    coco: COCO,
    folder: Path,
    results: list[dict[str, Any]],
    out: Path,
    num_images: int,
) -> None:
    """Draw the ground truth and the detections of the first images of a data set side by side.

    An image that can no longer be read is left out, with a warning.

    Args:
        coco: the ground truth.
        folder: folder of the images.
        results: entries of a COCO results file.
        out: folder for the PNG files, which are named after the images.
        num_images: number of images to draw.
    """
    detections = defaultdict(list)
    for entry in results:
        if entry["score"] >= MIN_SCORE:
            detections[entry["image_id"]].append(entry)
    names = category_names(coco)
    stems = set()
    for image_id in sorted(coco.imgs)[:num_images]:
        entry = coco.imgs[image_id]
        try:
            image = np.asarray(read_entry(folder, entry))
        except ImageError as error:
            logging.getLogger(__name__).warning(printable(f"{error}; it is not drawn"))
            continue
        truth = coco.imgToAnns[image_id]
        enlarged = enlarge(image)
        left = draw_entries(enlarged, truth, names, image.shape[:2])
        right = draw_entries(enlarged, detections[image_id], names, image.shape[:2])
        titles = ("truth", f"detections, score >= {MIN_SCORE:g}")
        stem = Path(entry["file_name"]).stem
        name = f"{stem}_{image_id}.png" if stem in stems else f"{stem}.png"
        stems.add(stem)
        write_image(out / name, side_by_side(left, right, titles))
