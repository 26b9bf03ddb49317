"""Drawings of COCO annotations and detections, and of both side by side."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mvit_det.data.annotations import category_names
from mvit_det.data.images import read_entry
from mvit_det.report.drawing import RgbImage, draw_objects, side_by_side, write_image

MIN_SCORE = 0.5  # detections below it are not drawn
MIN_SIDE = 320  # px; smaller images are enlarged, so that captions are legible


def draw_comparisons(
    coco: COCO,
    folder: Path,
    results: list[dict[str, Any]],
    out: Path,
    num_images: int,
) -> None:
    """Draw the ground truth and the detections of the first images of a data set side by side.

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
        image = np.asarray(read_entry(folder, entry))
        truth = coco.imgToAnns[image_id]
        masks = [coco.annToMask(annotation) for annotation in truth]
        zoom = max(1, -(-MIN_SIDE // max(image.shape[:2])))
        left = draw_entries(image, truth, masks, names, zoom)
        right = draw_results(image, detections[image_id], names, zoom)
        titles = ("truth", f"detections, score >= {MIN_SCORE:g}")
        stem = Path(entry["file_name"]).stem
        name = f"{stem}_{image_id}.png" if stem in stems else f"{stem}.png"
        stems.add(stem)
        write_image(out / name, side_by_side(left, right, titles))


def draw_results(
    image: RgbImage, results: list[dict[str, Any]], names: Mapping[int, str], zoom: int = 1
) -> RgbImage:
    """Draw the detections of one image.

    Args:
        image: (H, W, 3) RGB.
        results: entries of a COCO results file for this image; ``segmentation`` is RLE or absent.
        names: see :func:`draw_entries` for this argument and the next.
    """
    empty = np.zeros(image.shape[:2], np.uint8)
    masks = [
        coco_mask.decode(entry["segmentation"]) if "segmentation" in entry else empty for entry in results
    ]
    return draw_entries(image, results, masks, names, zoom)


def draw_entries(
    image: RgbImage,
    entries: list[dict[str, Any]],
    masks: list[NDArray[np.uint8]],
    names: Mapping[int, str],
    zoom: int = 1,
) -> RgbImage:
    """Draw the COCO annotations or detections of one image, with scores if the entries have scores.

    Args:
        image: (H, W, 3) RGB.
        entries: annotations or results of this image.
        masks: an (H, W) mask for each entry.
        names: category id -> name.
        zoom: integer factor by which the image is enlarged.

    Returns:
        (zoom * H, zoom * W, 3) RGB.
    """
    height, width = image.shape[:2]
    label_of = {category_id: label for label, category_id in enumerate(names, start=1)}
    boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # XYWH to XYXY
    enlarged_masks = np.array([_enlarge(mask, zoom) for mask in masks], bool)
    return draw_objects(
        _enlarge(image, zoom),
        boxes * zoom,
        enlarged_masks.reshape(-1, height * zoom, width * zoom),
        np.array([label_of[entry["category_id"]] for entry in entries], int),
        dict(enumerate(names.values(), start=1)),
        np.array([entry["score"] for entry in entries]) if entries and "score" in entries[0] else None,
    )


def _enlarge(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
