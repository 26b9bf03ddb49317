"""Checks of a single mask: polygons or RLE."""

import math
from array import array
from collections.abc import Mapping
from typing import Any

from mvit_det.data.coco.fields import FieldError, shorten
from mvit_det.data.coco.polygons import MAX_OUTLINE, Measures, read_polygons
from mvit_det.data.coco.rle import check_rle


def read_segmentation(segmentation: Any, where: str, image: Mapping[str, Any]) -> Any:
    """Return the polygons or the RLE of an object in ``image``, an entry of ``images``.

    Raises:
        FieldError: if it is neither, is not finite, or does not fit the image.
    """
    if isinstance(segmentation, dict):
        check_rle(segmentation, where, image)
        return segmentation
    if not isinstance(segmentation, list) or not segmentation:
        problem = f"{shorten(segmentation)} is not a mask" if segmentation else "is missing"
        raise FieldError(where, f"{problem}; expected polygons or RLE", "bad_mask")
    polygons, _ = read_polygons(segmentation, where)
    measures = Measures(1)
    measures.add(0, [array("d", polygon) for polygon in polygons])
    measures.flush()
    outline = outline_problem(measures.bounds[0], measures.outline[0], image["width"], image["height"])
    if outline is not None:
        kind, message = outline
        raise FieldError(where, message, kind)
    return polygons


def outline_problem(bounds: Any, outline: float, width: int, height: int) -> tuple[str, str] | None:
    """Return the kind of problem and the message if polygons cannot be drawn on an image, else None.

    pycocotools visits and stores every pixel on the outline, including those outside the image.

    Args:
        bounds: XYXY of the polygons, px.
        outline: number of pixels on their outlines.
        width: width of the image, px.
        height: height of the image, px.
    """
    side = max(width, height)
    low, high = min(bounds), max(bounds)
    if not all(map(math.isfinite, bounds)):
        return "bad_mask", "the polygon is not finite; expected coordinates in pixels"
    if low < -side or high > 2 * side:
        message = f"the polygon spans {low:g} to {high:g}, far outside its image of {width} x {height} px"
        return "mask_outside", message
    if outline > MAX_OUTLINE:
        return "long_outline", f"the outline is {outline:.0f} px long; expected at most {MAX_OUTLINE} px"
    return None
