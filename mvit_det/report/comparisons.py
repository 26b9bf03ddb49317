"""Drawings of COCO annotations and detections, and of both side by side."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mvit_det.data.coco.index import category_names
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
        zoom = max(1, -(-MIN_SIDE // max(image.shape[:2])))
        left = draw_entries(image, truth, names, zoom)
        right = draw_entries(image, detections[image_id], names, zoom)
        titles = ("truth", f"detections, score >= {MIN_SCORE:g}")
        stem = Path(entry["file_name"]).stem
        name = f"{stem}_{image_id}.png" if stem in stems else f"{stem}.png"
        stems.add(stem)
        write_image(out / name, side_by_side(left, right, titles))


def draw_entries(
    image: RgbImage, entries: list[dict[str, Any]], names: Mapping[int, str], zoom: int = 1
) -> RgbImage:
    """Draw the COCO annotations or detections of one image, with scores if the entries have scores.

    Args:
        image: (H, W, 3) RGB.
        entries: annotations or results of this image. Those without ``segmentation`` are drawn as boxes.
        names: category id -> name.
        zoom: integer factor by which the image is enlarged.

    Returns:
        (zoom * H, zoom * W, 3) RGB.
    """
    height, width = image.shape[:2]
    label_of = {category_id: label for label, category_id in enumerate(names, start=1)}
    boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # XYWH to XYXY
    masks = None
    if any(entry.get("segmentation") for entry in entries):
        masks = np.zeros((len(entries), height * zoom, width * zoom), bool)
        for mask, entry in zip(masks, entries, strict=True):
            if entry.get("segmentation"):
                mask[:] = _enlarge(_decode(entry["segmentation"], height, width), zoom)
    return draw_objects(
        _enlarge(image, zoom),
        boxes * zoom,
        masks,
        np.array([label_of[entry["category_id"]] for entry in entries], int),
        dict(enumerate(names.values(), start=1)),
        np.array([entry["score"] for entry in entries]) if entries and "score" in entries[0] else None,
    )


def _decode(segmentation: Any, height: int, width: int) -> NDArray[np.uint8]:
    """Return polygons or RLE as an (H, W) mask."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    mask: NDArray[np.uint8] = coco_mask.decode(segmentation)
    return mask


def _enlarge(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
