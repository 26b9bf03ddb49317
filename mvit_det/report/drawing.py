"""Drawing of objects on images."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.errors import printable
from mvit_det.files import write_file

RgbImage = NDArray[np.uint8]  # (H, W, 3) RGB
FONT = cv2.FONT_HERSHEY_SIMPLEX  # also the font of supervision's captions
MAX_CAPTION = 40  # characters of the name of a class
PALETTE = sv.ColorPalette.from_matplotlib("tab10", 10)


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
    masks = None
    if any(entry.get("segmentation") for entry in entries):
        masks = np.zeros((len(entries), *image.shape[:2]), bool)
        for mask, entry in zip(masks, entries, strict=True):
            if entry.get("segmentation"):
                full = _decode(entry["segmentation"], height, width)
                mask[:] = cv2.resize(full, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    label_of = {category_id: label for label, category_id in enumerate(names, start=1)}
    return draw_objects(
        image,
        boxes * scale,
        masks,
        np.array([label_of[entry["category_id"]] for entry in entries], int),
        dict(enumerate(names.values(), start=1)),
        np.array([entry["score"] for entry in entries]) if entries and "score" in entries[0] else None,
    )


def draw_objects(
    image: RgbImage,
    boxes: NDArray[Any],
    masks: NDArray[np.bool_] | None,
    labels: NDArray[Any],
    names: Mapping[int, str],
    scores: NDArray[Any] | None = None,
) -> RgbImage:
    """Return a copy of an image with a box, a caption and, optionally, a colored mask for each object.

    Where captions overlap, only the first is drawn.

    Args:
        image: (H, W, 3) RGB.
        boxes: (K, 4) XYXY, px.
        masks: (K, H, W), or None.
        labels: (K,), from 1.
        names: label -> name. If there are several, each class has its own color. If there is only one,
            each object has its own color, and captions omit the name.
        scores: (K,) in 0..1, added to the captions.
    """
    height, width = image.shape[:2]
    limits = np.array([width, height] * 2)
    boxes = boxes.reshape(-1, 4).clip(-limits, 2 * limits)  # OpenCV draws with 32-bit integers
    objects = sv.Detections(
        xyxy=boxes.astype(np.float32),
        mask=None if masks is None else masks.reshape(-1, *image.shape[:2]),
        class_id=labels.astype(int),
    )
    has_classes = len(names) > 1
    captions = [printable(names[int(label)], MAX_CAPTION) if has_classes else "" for label in labels]
    if scores is not None:
        captions = [f"{name} {score:.2f}".strip() for name, score in zip(captions, scores, strict=True)]
    lookup = sv.ColorLookup.CLASS if has_classes else sv.ColorLookup.INDEX
    scale = max(image.shape[:2]) / 1000  # lines and text grow with the image
    thickness = max(1, round(2 * scale))
    drawn = sv.MaskAnnotator(PALETTE, 0.5, lookup).annotate(image.copy(), objects)
    drawn = sv.BoxAnnotator(PALETTE, thickness, lookup).annotate(drawn, objects)
    if any(captions):
        colors = labels.astype(int) if has_classes else np.arange(len(labels))
        drawn = _draw_captions(drawn, boxes[:, :2], captions, colors, scale, thickness)
    return drawn


def _decode(segmentation: Any, height: int, width: int) -> NDArray[np.uint8]:
    """Return polygons or RLE as an (H, W) mask."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    mask: NDArray[np.uint8] = coco_mask.decode(segmentation)
    return mask


def _draw_captions(
    image: RgbImage,
    corners: NDArray[Any],
    captions: list[str],
    colors: NDArray[Any],
    scale: float,
    thickness: int,
) -> RgbImage:
    """Draw captions above the upper left corners (K, 2) of boxes, inside the image and without overlaps."""
    text_scale, padding = max(0.3, 0.5 * scale), max(1, round(5 * scale))
    text_sizes = [cv2.getTextSize(caption, FONT, text_scale, thickness)[0] for caption in captions]
    sizes = np.array(text_sizes) + 2 * padding  # (K, 2) width and height
    left = np.minimum(corners[:, 0], image.shape[1] - sizes[:, 0]).clip(min=0)
    bottom = np.maximum(corners[:, 1], sizes[:, 1])
    places = np.stack([left, bottom - sizes[:, 1], left + sizes[:, 0], bottom], axis=1)
    legible = _without_overlaps(places)
    captioner = sv.LabelAnnotator(
        PALETTE, text_scale=text_scale, text_thickness=thickness, text_padding=padding
    )
    return captioner.annotate(
        image,
        sv.Detections(places[legible][:, [0, 3, 2, 3]]),  # it draws above the upper edge
        [captions[index] for index in legible],
        custom_color_lookup=colors[legible],
    )


def _without_overlaps(boxes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the indices of boxes (K, 4) in XYXY that do not overlap; of two that overlap, the first."""
    kept: list[int] = []
    for index, box in enumerate(boxes):
        starts = np.maximum(boxes[kept, :2], box[:2])
        ends = np.minimum(boxes[kept, 2:], box[2:])
        if not (starts < ends).all(axis=1).any():
            kept.append(index)
    return np.array(kept, dtype=np.intp)


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
    Image.fromarray(image).save(content, Image.registered_extensions()[path.suffix.lower()])
    write_file(path, content.getvalue(), durable=False)
