"""Conversion of images and their objects to COCO's format."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Converter:
    """Collects images and their objects in COCO's format.

    Args:
        folder: the folder that each ``file_name`` is relative to.
        names: category id -> name.
    """

    def __init__(self, folder: Path, names: Mapping[int, str]) -> None:
        self.folder = folder
        categories = [{"id": id_, "name": name} for id_, name in sorted(names.items())]
        self.data: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}

    def add(
        self, image: Path, size: tuple[int, int] | None, objects: Iterable[dict[str, Any]], source: Path
    ) -> None:
        """Add an image and its objects.

        Args:
            image: the image, inside ``folder``.
            size: width and height in pixels; None: leave them to the check of the images.
            objects: annotations without ``id`` and ``image_id``; ``iscrowd`` is 0 by default.
            source: the file that messages about the image name.
        """
        images, annotations = self.data["images"], self.data["annotations"]
        entry = {"id": len(images) + 1, "file_name": image.relative_to(self.folder).as_posix()}
        entry["_source"] = str(source)
        if size is not None:
            entry |= {"width": size[0], "height": size[1]}
        images.append(entry)
        for each in objects:
            ids = {"id": len(annotations) + 1, "image_id": entry["id"], "iscrowd": 0}
            annotations.append(ids | each)
