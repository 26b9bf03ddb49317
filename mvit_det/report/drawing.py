"""Drawing of objects on images."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.errors import printable
from mvit_det.files import write_file
from mvit_det.report.captions import FONT, draw_captions
from mvit_det.report.colors import color_of
from mvit_det.report.masks import draw_masks

RgbImage = NDArray[np.uint8]  # (H, W, 3) RGB
MAX_CAPTION = 40  # characters of the name of a class
OBJECT_SIDE = 50  # px; side of an object that suits the lines and text of an image of 1000 px
MIN_SIDE = 640  # px; the minimum of the longer side of an image in which captions are legible


def draw_entries(
    image: RgbImage,
    entries: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    size_hw: tuple[int, ...] | None = None,
) -> RgbImage:
    """Return a copy of an image with COCO annotations or detections, with scores if the entries have scores.

    Args:
        image: (H, W, 3) RGB, which may have been resized.
        entries: annotations or results of this image. Those without ``segmentation`` are drawn as boxes.
        names: category id -> name.
        size_hw: height and width of the image that the entries refer to, px; by default, those of ``image``.
    """
    height, width = size_hw or image.shape[:2]
    scale = np.array([image.shape[1] / width, image.shape[0] / height] * 2)
    boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # XYWH to XYXY
    masks = (_mask(entry.get("segmentation"), (height, width), image.shape[:2]) for entry in entries)
    return draw_objects(
        image,
        boxes * scale,
        masks if any(entry.get("segmentation") for entry in entries) else None,
        np.array([entry["category_id"] for entry in entries], int),
        names,
        np.array([entry["score"] for entry in entries]) if entries and "score" in entries[0] else None,
    )


def draw_objects(
    image: RgbImage,
    boxes: NDArray[Any],
    masks: Iterable[NDArray[np.bool_]] | None,
    labels: NDArray[Any],
    names: Mapping[int, str],
    scores: NDArray[Any] | None = None,
    track_ids: Sequence[int | None] | None = None,
) -> RgbImage:
    """Return a copy of an image with a box, a caption and, optionally, a colored mask for each object.

    Captions do not cover each other, and earlier objects come first; see :func:`draw_captions`.

    Args:
        image: (H, W, 3) RGB.
        boxes: (K, 4) XYXY, px.
        masks: (K, H, W) or an iterable of K masks (H, W); or None.
        labels: (K,), keys of ``names``.
        names: label or category id -> name. If there are several, each class has its own color, by its place
            among them. If there is only one, each object has its own color, and captions omit the name.
        scores: (K,) in 0..1, added to the captions.
        track_ids: K numbers of tracks, or None for an object in no track. They are added to the captions, and
            each track has its own color.
    """
    height, width, _ = image.shape
    has_classes = len(names) > 1
    place_of = {label: place for place, label in enumerate(names, start=1)}
    places = [place_of[label] for label in labels.tolist()] if has_classes else range(len(labels))
    colors = [color_of(place) for place in places]
    captions = [printable(names[label], MAX_CAPTION) if has_classes else "" for label in labels.tolist()]
    if scores is not None:
        captions = [f"{name} {score:.2f}".strip() for name, score in zip(captions, scores, strict=True)]
    for index, track_id in enumerate(track_ids or ()):
        if track_id is not None:
            colors[index], captions[index] = color_of(track_id), f"#{track_id} {captions[index]}".strip()
    drawn = image.copy() if masks is None else draw_masks(image, masks, colors)
    corners = boxes.reshape(-1, 4).clip(0, [width, height] * 2).round().astype(int)
    scale = min(max(height, width) / 1000, min(height, width) / 100)  # lines and text grow with the image
    if scale > 1 and len(corners):  # unless the objects are small
        scale = min(scale, max(1, np.median(corners[:, 2:] - corners[:, :2]) / OBJECT_SIDE))
    thickness = max(1, round(2 * scale))
    for (left, top, right, bottom), color in zip(corners.tolist(), colors, strict=True):
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), color, thickness)
    draw_captions(drawn, corners, captions, colors, scale, thickness)
    return drawn


def _mask(segmentation: Any, size_hw: tuple[int, int], drawn_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return polygons or RLE of an image as a mask (H, W) in the size in which the image is drawn."""
    if not segmentation:
        return np.zeros(drawn_hw, bool)
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size_hw))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size_hw)
    mask = coco_mask.decode(segmentation)
    if size_hw != drawn_hw:
        mask = cv2.resize(mask, drawn_hw[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(mask, bool)


def enlarge(image: NDArray[Any]) -> NDArray[Any]:
    """Repeat the pixels of an image or a mask (H, W, ...) until its longer side is at least ``MIN_SIDE``."""
    zoom = max(1, -(-MIN_SIDE // max(image.shape[:2])))
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def side_by_side(left: RgbImage, right: RgbImage, titles: tuple[str, str]) -> RgbImage:
    """Return one image of two images of equal size, side by side, with a title above each."""
    height, width, _ = left.shape
    margin, gap = 24, 8  # px, above the images and between them
    canvas = np.full((height + margin, 2 * width + gap, 3), 255, np.uint8)
    canvas[margin:, :width], canvas[margin:, width + gap :] = left, right
    for x, title in ((4, titles[0]), (width + gap + 4, titles[1])):
        cv2.putText(canvas, title, (x, 17), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def write_image(path: Path, image: RgbImage) -> None:
    """Write an image in the format that the suffix of ``path`` names, and create missing folders."""
    content = BytesIO()
    format_ = Image.registered_extensions()[path.suffix.lower()]
    # A PNG file is written in two thirds of the time, and becomes 5 % larger.
    Image.fromarray(image).save(content, format_, compress_level=3)
    write_file(path, content.getvalue(), durable=False)
