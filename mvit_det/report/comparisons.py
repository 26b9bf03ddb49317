"""Images of the ground truth and the detections side by side."""

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

MIN_SCORE = 0.5  # of a detection that is drawn
MIN_SIDE = 320  # px; smaller pictures are enlarged, so that captions can be read


def draw_comparisons(
    coco: COCO,
    folder: Path,
    results: list[dict[str, Any]],
    out: Path,
    num_pictures: int,
) -> None:
    """Write the first pictures of a data set with the truth and the detections side by side.

    Args:
        coco: the truth.
        folder: where its pictures are.
        results: entries of a COCO results file.
        out: folder for the PNG files, named after the pictures.
        num_pictures: how many.
    """
    found = defaultdict(list)
    for entry in results:
        if entry["score"] >= MIN_SCORE:
            found[entry["image_id"]].append(entry)
    names = category_names(coco)
    written = set()
    for image_id in sorted(coco.imgs)[:num_pictures]:
        entry = coco.imgs[image_id]
        image = np.asarray(read_entry(folder, entry))
        truth = coco.imgToAnns[image_id]
        masks = [coco.annToMask(annotation) for annotation in truth]
        zoom = max(1, -(-MIN_SIDE // max(image.shape[:2])))
        left = draw_entries(image, truth, masks, names, zoom)
        right = draw_results(image, found[image_id], names, zoom)
        titles = ("truth", f"detections, score >= {MIN_SCORE:g}")
        stem = Path(entry["file_name"]).stem
        name = f"{stem}_{image_id}.png" if stem in written else f"{stem}.png"
        written.add(stem)
        write_image(out / name, side_by_side(left, right, titles))


def draw_results(
    image: RgbImage, results: list[dict[str, Any]], names: Mapping[int, str], zoom: int = 1
) -> RgbImage:
    """Draw COCO results entries on their picture, as :func:`draw_entries` does; masks where they have one."""
    no_mask = np.zeros(image.shape[:2], np.uint8)
    masks = [coco_mask.decode(e["segmentation"]) if "segmentation" in e else no_mask for e in results]
    return draw_entries(image, results, masks, names, zoom)


def draw_entries(
    image: RgbImage,
    entries: list[dict[str, Any]],
    masks: list[NDArray[np.uint8]],
    names: Mapping[int, str],
    zoom: int = 1,
) -> RgbImage:
    """Draw COCO annotations or results, with their scores where they have any.

    Args:
        image: (H, W, 3) RGB.
        entries: of one picture.
        masks: (H, W) of each entry.
        names: category id -> name.
        zoom: how many times as large the drawing is.

    Returns:
        (zoom * H, zoom * W, 3) RGB
    """
    height, width = image.shape[:2]

    def enlarged(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return array.repeat(zoom, axis=0).repeat(zoom, axis=1)

    label_of = {category_id: label for label, category_id in enumerate(names, start=1)}
    boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    large = np.array([enlarged(mask) for mask in masks], bool)
    return draw_objects(
        enlarged(image),
        boxes * zoom,
        large.reshape(-1, height * zoom, width * zoom),
        np.array([label_of[entry["category_id"]] for entry in entries], int),
        dict(enumerate(names.values(), start=1)),
        np.array([e["score"] for e in entries]) if entries and "score" in entries[0] else None,
    )
