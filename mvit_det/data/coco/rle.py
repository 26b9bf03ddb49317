"""Run-length encoded masks in COCO's format."""

from collections.abc import Mapping, Sequence
from typing import Any

from pycocotools import mask as coco_mask

from mvit_det.data.coco.fields import FieldError, shorten, to_whole_number

MAX_BITS = 60  # of a run in compressed RLE; pycocotools overflows above it


def normalize_rle(rle: dict[str, Any]) -> None:
    """Turn the numbers of an RLE mask that are whole floats or strings into ints, in place."""
    for key in ("size", "counts"):
        values = rle.get(key)
        if isinstance(values, list) and not all(type(value) is int for value in values):
            numbers = [to_whole_number(value) for value in values]
            if None not in numbers:
                rle[key] = numbers


def rle_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of a run-length encoded mask, or zeros if it has no valid size."""
    size = rle.get("size")
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[1], size[0]
    return 0, 0


def compressed(rle: Mapping[str, Any]) -> Any:
    """Return a valid RLE in the compressed form, which pycocotools' functions take."""
    return coco_mask.frPyObjects(rle, *rle["size"]) if isinstance(rle["counts"], list) else rle


def check_rle(rle: Mapping[str, Any], where: str, image: Mapping[str, Any]) -> int:
    """Check that the RLE ``rle`` is a mask of ``image``, an entry of ``images``.

    Returns:
        The number of pixels of the mask.

    Raises:
        FieldError: if its size is not that of the image, if it cannot be decoded, or if its runs do not cover
            the image.
    """
    size = [image["height"], image["width"]]
    if rle.get("size") != size:
        raise FieldError(
            f"{where}.size",
            f"{shorten(rle.get('size'))} is not the [height, width] of its image, {size}",
            "bad_mask",
        )
    counts = rle.get("counts")
    if isinstance(counts, str):
        runs: Sequence[int] = decode_counts(counts, f"{where}.counts")
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise FieldError(
            f"{where}.counts", f"{shorten(counts)} is neither a string nor a list of runs", "bad_mask"
        )
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise FieldError(
            f"{where}.counts",
            f"the runs cover {sum(runs)} px; the image has {size[0] * size[1]}",
            "bad_mask",
        )
    return sum(runs[1::2])


def decode_counts(text: str, where: str) -> list[int]:
    """Return the run lengths of COCO's compressed RLE.

    pycocotools decodes a malformed string to arbitrary runs without an error, so it is checked here first.

    Each character encodes six bits: its code minus that of "0". The lower five bits are a part of a number,
    with the least significant part first, and the sixth bit is set if another part follows. The fifth bit of
    the last part is the sign. The first three numbers are run lengths; each later number is the difference
    between its run and the run two places before.

    Raises:
        FieldError: if a character is not part of the encoding, or the last run is incomplete.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode() if text.isascii() else map(ord, text):
        bits = code - 48
        if not 0 <= bits < 64:
            raise FieldError(where, f"{chr(code)!r} is not a character of compressed RLE", "bad_mask")
        value |= (bits & 31) << shift
        shift += 5
        if shift > MAX_BITS:
            raise FieldError(where, "a run is longer than any image", "bad_mask")
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise FieldError(where, "the last run is incomplete", "bad_mask")
    return runs
