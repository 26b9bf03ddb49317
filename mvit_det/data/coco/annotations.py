"""Reading of the annotations of a COCO-format file."""

import math
from array import array
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.coco.fields import FieldError, shorten, to_number
from mvit_det.data.coco.ids import id_key
from mvit_det.data.coco.polygons import Measures, read_polygons
from mvit_det.data.coco.rle import normalize_rle
from mvit_det.data.problems import ProblemCollector

_CROWD = {0: 0, 1: 1, None: 0, "0": 0, "1": 1, "false": 0, "true": 1}  # True and 1.0 are equal to 1
MAX_COORDINATE = 1e9  # px, far beyond the largest image
_BOX = "[x, y, width, height] in pixels"
_NO_BOX = (math.nan,) * 4

Annotation = dict[str, Any]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Annotations:
    """The annotations of a data set, crowd regions included, with arrays of the values that are checked.

    Attributes:
        entries: the annotations.
        index: (N,) position of each annotation in its file.
        image_ids: (N,) id of the image of each.
        boxes: (N, 4) XYWH in pixels; NaN where it is missing.
        bounds: (N, 4) XYXY of the polygons in pixels; NaN where there are none.
        outline: (N,) number of pixels on the outlines of the polygons.
        polygon_area: (N,) sum of the areas of the polygons.
    """

    entries: list[Annotation]
    index: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    boxes: Array
    bounds: Array
    outline: Array
    polygon_area: Array

    def select(self, keep: NDArray[np.bool_]) -> "Annotations":
        """Return the annotations for which ``keep`` (N,) is true."""
        if keep.all():
            return self
        kept = [entry for entry, is_kept in zip(self.entries, keep.tolist(), strict=True) if is_kept]
        names = ("index", "image_ids", "boxes", "bounds", "outline", "polygon_area")
        return replace(self, entries=kept, **{name: getattr(self, name)[keep] for name in names})

    def report(self, collector: ProblemCollector, row: int, kind: str, field: str, message: str) -> None:
        """Add a problem of the annotation at the position ``row``."""
        collector.add(kind, "annotations", int(self.index[row]), self.entries[row], message, field)


def read_annotations(
    entries: list[Any],
    images: Mapping[Hashable, int | None],
    categories: Mapping[Hashable, int],
    collector: ProblemCollector,
    names: Mapping[str, int] | None = None,
) -> Annotations:
    """Read the list ``annotations``, except for what depends on the size of the image.

    Args:
        entries: the list.
        images: key -> id of the images; None for an image that cannot be used, with its annotations.
        categories: key -> id of the categories.
        collector: receives the problems.
        names: name -> id of the categories, for a ``category_id`` that is a name.
    """
    reader = _Reader(images, categories, names or {}, collector, len(entries))
    for index, entry in enumerate(entries):
        try:
            reader.read(index, entry)
        except FieldError as error:
            collector.add(error.kind, "annotations", index, entry, error.message, error.field)
    return reader.finish()


class _Reader:
    def __init__(
        self,
        images: Mapping[Hashable, int | None],
        categories: Mapping[Hashable, int],
        names: Mapping[str, int],
        collector: ProblemCollector,
        num_entries: int,
    ) -> None:
        self.images = images
        self.categories = categories
        self.names = names
        self.first_name = ""  # the first name in place of an id
        self.collector = collector
        self.measures = Measures(num_entries)
        self.entries: list[Annotation] = []
        self.index: list[int] = []
        self.image_ids: list[int] = []
        self.boxes = array("d")

    def read(self, index: int, entry: Any) -> None:
        if type(entry) is not dict:
            raise FieldError("", f"{shorten(entry)} is not an object")
        image_id = self._reference(entry, "image_id", self.images, "images")
        if image_id is None:
            return
        entry["image_id"] = image_id
        entry["category_id"] = self._reference(entry, "category_id", self.categories, "categories")
        crowd = entry.get("iscrowd")
        if type(crowd) is not int or crowd not in (0, 1):
            entry["iscrowd"] = _read_crowd(crowd)
        polygons = self._mask(index, entry)
        box = self._box(index, entry)
        self.measures.add(len(self.entries), polygons)
        self.boxes.extend(box)
        self.image_ids.append(image_id)
        self.index.append(index)
        self.entries.append(entry)

    def _reference(
        self, entry: Annotation, field: str, targets: Mapping[Hashable, int | None], name: str
    ) -> int | None:
        key = id_key(entry.get(field))
        try:
            return targets[key]
        except KeyError:
            pass
        if field == "category_id" and isinstance(key, str) and key in self.names:
            self.first_name = self.first_name or key
            return self.names[key]
        kind = "unknown_image" if field == "image_id" else "unknown_category"
        if key is None:
            problem = f"{shorten(entry[field])} is not an id" if field in entry else "is missing"
            raise FieldError(field, f"{problem}; expected the id of an entry of {name}", kind)
        raise FieldError(field, f"no entry of {name} has the id {shorten(entry[field])}", kind)

    def _mask(self, index: int, entry: Annotation) -> "list[array[float]]":
        """Normalize the mask of an annotation. Return its polygons."""
        mask = entry.get("segmentation")
        if type(mask) is list and len(mask) == 1 and type(mask[0]) is dict:
            entry["segmentation"] = mask = mask[0]
            self._repaired("mask_form", index, entry, "segmentation", "RLE in a list")
        if type(mask) is dict and mask:
            normalize_rle(mask)
            return []  # it is checked when the size of the image is known
        if not mask or mask == [[]]:
            entry.pop("segmentation", None)
            return []
        if type(mask) is not list:
            raise FieldError(
                "segmentation", f"{shorten(mask)} is not a mask; expected polygons or RLE", "bad_mask"
            )
        try:
            polygons = [array("d", polygon) for polygon in mask]
            if all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons):
                return polygons
        except (TypeError, OverflowError):
            pass
        entry["segmentation"], repairs = read_polygons(mask, "segmentation")
        for kind in repairs:
            self._repaired(kind, index, entry, "segmentation", shorten(mask))
        return [array("d", polygon) for polygon in entry["segmentation"]]

    def _box(self, index: int, entry: Annotation) -> "array[float] | tuple[float, ...]":
        box = entry.get("bbox")
        if type(box) is list and len(box) == 1 and type(box[0]) is list:
            self._repaired("numbers", index, entry, "bbox", shorten(box))
            entry["bbox"] = box = box[0]
        if type(box) is list and len(box) == 4:
            try:
                numbers = array("d", box)
            except (TypeError, OverflowError):
                converted = [to_number(value) for value in box]
                if None in converted:
                    raise FieldError("bbox", f"{shorten(box)} is not {_BOX}", "bad_box") from None
                entry["bbox"] = converted
                numbers = array("d", [value for value in converted if value is not None])
                self._repaired("numbers", index, entry, "bbox", shorten(box))
            if max(map(abs, numbers)) < MAX_COORDINATE and not any(map(math.isnan, numbers)):
                return numbers
            bad = next(value for value in numbers if not abs(value) < MAX_COORDINATE)
            problem = "is too large" if math.isfinite(bad) else "is not finite"
            raise FieldError("bbox", f"contains {bad:g}, which {problem}; expected {_BOX}", "bad_box")
        if box is not None and box != []:
            raise FieldError("bbox", f"{shorten(box)} is not {_BOX}", "bad_box")
        if "segmentation" not in entry:
            raise FieldError("bbox", f"is missing, and there is no mask; expected {_BOX}", "bad_box")
        entry["bbox"] = None
        return _NO_BOX

    def _repaired(self, kind: str, index: int, entry: Annotation, field: str, value: str) -> None:
        self.collector.add(kind, "annotations", index, entry, f"{value} is read", field)

    def finish(self) -> Annotations:
        self.measures.flush()
        if self.first_name:
            message = f"{shorten(self.first_name)} is the name of a category; the names are read as its id"
            self.collector.add_list("category_by_name", "annotations", "category_id", message)
        num_entries = len(self.entries)
        return Annotations(
            entries=self.entries,
            index=np.array(self.index, np.int64),
            image_ids=np.array(self.image_ids, np.int64),
            boxes=np.frombuffer(self.boxes).reshape(-1, 4).copy() if num_entries else np.empty((0, 4)),
            bounds=self.measures.bounds[:num_entries],
            outline=self.measures.outline[:num_entries],
            polygon_area=self.measures.area[:num_entries],
        )


def _read_crowd(value: Any) -> int:
    try:
        return _CROWD[value]
    except (KeyError, TypeError):
        raise FieldError("iscrowd", f"{shorten(value)} is neither 0 nor 1") from None
