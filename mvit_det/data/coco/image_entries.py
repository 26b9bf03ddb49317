"""Reading of the list of images of a COCO-format file."""

import posixpath
from collections import defaultdict
from collections.abc import Hashable
from typing import Any

from mvit_det.data.coco.fields import FieldError, shorten, to_whole_number
from mvit_det.data.coco.ids import id_key, number_ids
from mvit_det.data.coco.image_folder import ImageFolder, normalize
from mvit_det.data.images import read_size
from mvit_det.data.problems import ProblemCollector
from mvit_det.errors import InputError

MAX_SIDE = 32_767  # px; pycocotools' allocations overflow above it

ImageEntry = dict[str, Any]


def read_image_entries(
    entries: list[Any], folder: ImageFolder | None, collector: ProblemCollector
) -> tuple[list[ImageEntry], dict[Hashable, int | None]]:
    """Read the list ``images``.

    A missing ``width`` or ``height`` is read from the image. The entries of an image that is listed several
    times become one.

    Args:
        entries: the list.
        folder: the folder of the images; None: do not look for the images.
        collector: receives the problems.

    Returns:
        The usable images, and key -> id as :func:`mvit_det.data.coco.ids.number_ids` returns it, but None for
        an image that cannot be used.

    Raises:
        InputError: if none of the images is in the folder.
    """
    reader = _Reader(folder, collector)
    for index, image in enumerate(entries):
        reader.read(index, image)
    reader.refuse_a_folder_without_images()
    unique = reader.drop_repeated_ids()
    ids = number_ids(unique, "images", reader.raw_ids, collector)
    result: dict[Hashable, int | None] = dict.fromkeys(reader.unusable)
    by_name: dict[str, tuple[Hashable, ImageEntry]] = {}
    for key, (index, image) in unique.items():
        first_key, first = by_name.setdefault(image["file_name"], (key, image))
        if first is not image:
            message = f"{image['file_name']} is listed again; all its annotations belong to one image"
            collector.add("repeated_image", "images", index, image, message, "file_name")
            if (image["width"], image["height"]) != (first["width"], first["height"]):
                first["width"] = None  # one of them is wrong
        result[key] = ids[first_key]
    images = []
    for key, image in by_name.values():
        image["id"] = ids[key]
        if reader.complete_size(unique[key][0], image):
            images.append(image)
        else:
            result |= {other: None for other, id_ in result.items() if id_ == ids[key]}
    return images, result


class _Reader:
    def __init__(self, folder: ImageFolder | None, collector: ProblemCollector) -> None:
        self.folder = folder
        self.collector = collector
        self.images: dict[Hashable, list[tuple[int, ImageEntry]]] = defaultdict(list)
        self.unusable: list[Hashable] = []
        self.raw_ids: list[Any] = []
        self.missing: list[str] = []

    def read(self, index: int, image: Any) -> None:
        """Read the entry ``index``, except for its size."""
        key: Hashable = None
        name: Any = None
        try:
            if not isinstance(image, dict):
                raise FieldError("", f"{shorten(image)} is not an object")
            key = id_key(image.get("id"))
            if key is None:
                problem = f"{shorten(image['id'])} is not an id" if "id" in image else "is missing"
                raise FieldError("id", f"{problem}; expected a whole number")
            name = image.get("file_name")
            if not isinstance(name, str) or not name.strip():
                problem = f"{shorten(name)} is not a file name" if "file_name" in image else "is missing"
                raise FieldError("file_name", f"{problem}; expected a string")
            self._find(index, image, name)
        except FieldError as error:
            if key is not None:
                self.unusable.append(key)
            if error.kind == "missing_image":
                assert self.folder is not None
                self.missing.append(name)
                self.collector.add_file(error.kind, self.folder.path / name, error.message)
            else:
                self.collector.add(error.kind, "images", index, image, error.message, error.field)
            return
        for field in ("width", "height"):
            if type(image.get(field)) is not int or not 0 < image[field] <= MAX_SIDE:
                number = to_whole_number(image.get(field))
                image[field] = number if number is not None and 0 < number <= MAX_SIDE else None
        self.images[key].append((index, image))
        self.raw_ids.append(image["id"])

    def _find(self, index: int, image: ImageEntry, name: str) -> None:
        if self.folder is None:
            image["file_name"] = posixpath.normpath(name) if name.startswith("./") else name
            return
        image["file_name"] = self.folder.find(name)
        if image["file_name"] != name:
            message = f"{name} is read as {image['file_name']}"
            if normalize(name) == normalize(image["file_name"]):  # the message would show two equal names
                message = f"{name} is in another Unicode normalization than the name of the image"
            self.collector.add("file_name", "images", index, image, message, "file_name")

    def refuse_a_folder_without_images(self) -> None:
        if self.missing and not self.images:
            assert self.folder is not None
            folder, name = self.folder.path, self.missing[0]
            places = [path for path in sorted(folder.iterdir()) if (path / name).is_file()]
            hint = (
                f"it is in {places[0]}" if places else "expected the folder that file names are relative to"
            )
            raise InputError(
                f"{folder}: contains none of the images of {self.collector.source}, such as {name}; {hint}"
            )

    def drop_repeated_ids(self) -> dict[Hashable, tuple[int, ImageEntry]]:
        """Return key -> index and image, without different images that have the same id."""
        unique = {}
        for key, group in self.images.items():
            (_, first), *others = group
            if all(image["file_name"] == first["file_name"] for _, image in others):
                unique[key] = group[0]
                for index, image in others:
                    message = f"{image['file_name']} is listed again with the same id"
                    self.collector.add("repeated_image", "images", index, image, message)
            else:
                self.unusable.append(key)
                for index, image in group:
                    message = f"the id {image['id']} is repeated for another image; ids must be unique"
                    self.collector.add("repeated_id", "images", index, image, message)
        return unique

    def complete_size(self, index: int, image: ImageEntry) -> bool:
        """Read the size of an image from its file if it is not known. Return whether it is known now."""
        if image["width"] is not None and image["height"] is not None:
            return True
        if self.folder is None:
            message = f"width or height is not a whole number from 1 to {MAX_SIDE} px"
            self.collector.add("bad_entry", "images", index, image, message)
            return False
        path = self.folder.path / image["file_name"]
        try:
            size = read_size(path)
        except InputError as error:
            self.collector.add_file("damaged_image", path, str(error).removeprefix(f"{path}: "))
            return False
        if max(size.width, size.height) > MAX_SIDE:
            message = f"is {size.width} x {size.height} px; expected at most {MAX_SIDE} px"
            self.collector.add_file("damaged_image", path, message)
            return False
        image["width"], image["height"] = size.width, size.height
        message = f"width or height is unknown; the image is {size.width} x {size.height} px"
        self.collector.add("size", "images", index, image, message)
        return True
