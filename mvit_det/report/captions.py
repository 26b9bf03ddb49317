"""Captions of boxes, inside the image and without overlaps."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mvit_det.report.colors import Color, text_color

FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_SCALE = 0.5  # of the font, in an image of 1000 px
MIN_TEXT_SCALE = 0.4  # smaller text is not legible
MIN_LENGTH = 8  # characters of a shortened text that ends with its score; shorter ones keep only their start
PADDING = 10  # px around text of scale 1

# A caption starts at box start + a * box size + b * caption size, along each axis. The pairs are (a, b).
START, END, CENTER = (0, 0), (1, -1), (0.5, -0.5)  # inside the box
BEFORE, AFTER = (0, -1), (1, 0)  # outside
FAR_BEFORE, FAR_AFTER = (0, -2), (1, 1)  # outside, with room for another caption between
PLACES = np.array(
    [(x, y) for x in (START, END, CENTER) for y in (BEFORE, START, AFTER, END, CENTER)]
    + [(x, y) for x in (AFTER, BEFORE) for y in (START, END, CENTER)]
    + [(x, y) for y in (FAR_BEFORE, FAR_AFTER) for x in (START, END)]
)  # (places in order of preference, x and y, a and b)


def draw_captions(
    image: NDArray[np.uint8],
    boxes: NDArray[np.int_],
    captions: Sequence[str],
    colors: Sequence[Color],
    scale: float,
    thickness: int,
) -> None:
    """Draw captions of boxes on an image, in place.

    A caption is above the upper left corner of its box or, if it would cover an earlier caption there,
    elsewhere in the box or near it. It is left out if none of these places is free. A caption that is wider
    than the image is shortened.

    Args:
        image: (H, W, 3) RGB.
        boxes: (K, 4) XYXY, px, inside the image.
        captions: K texts. Empty ones are not drawn.
        colors: K colors of the background.
        scale: 1 for the text size that suits an image of 1000 px.
        thickness: line width of the letters, px.
    """
    text_scale = max(MIN_TEXT_SCALE, TEXT_SCALE * scale)
    padding = round(PADDING * text_scale)
    _, descent = cv2.getTextSize("g", FONT, text_scale, thickness)
    bottom_padding = max(padding, descent + 1)
    image_wh = image.shape[1::-1]

    def size_wh(text: str) -> tuple[int, int]:
        width, height = cv2.getTextSize(text, FONT, text_scale, thickness)[0]
        return width + 2 * padding, height + padding + bottom_padding

    def fits(text: str) -> bool:
        width, height = size_wh(text)
        return width <= image_wh[0] and height <= image_wh[1]

    texts = [_shortened(caption, fits) for caption in captions]
    sizes_wh = np.array([size_wh(text) if text else (0, 0) for text in texts]).reshape(-1, 2)
    is_taken = np.zeros(image.shape[:2], bool)
    for text, color, places in zip(texts, colors, _places(boxes, sizes_wh, image_wh), strict=True):
        for left, top, right, bottom in places if text else ():
            region = is_taken[top:bottom, left:right]
            if not region.any():
                region[:] = True
                cv2.rectangle(image, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
                start = (left + padding, bottom - bottom_padding)
                cv2.putText(image, text, start, FONT, text_scale, text_color(color), thickness, cv2.LINE_AA)
                break


def _shortened(text: str, fits: Callable[[str], bool]) -> str:
    """Return a text that fits, without its middle if necessary, or an empty text if nothing fits."""
    if not text or fits(text):
        return text
    for length in range(len(text) - 1, 0, -1):
        tail = length // 2 if length >= MIN_LENGTH else 0
        shorter = f"{text[: length - tail]}...{text[len(text) - tail :]}"
        if fits(shorter):
            return shorter
    return ""


def _places(
    boxes: NDArray[np.int_], sizes_wh: NDArray[np.int_], image_wh: tuple[int, ...]
) -> list[list[list[int]]]:
    """Return places in the image for the caption of each box (K, 4) in order of preference, in XYXY."""
    starts, sides, sizes = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2], sizes_wh[:, None]
    corners = starts + PLACES[..., 0] * sides + PLACES[..., 1] * sizes  # (K, places, x and y)
    corners = corners.round().astype(int).clip(0, image_wh - sizes)
    places: list[list[list[int]]] = np.concatenate([corners, corners + sizes], axis=-1).tolist()
    return places
