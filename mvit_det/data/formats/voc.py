"""Pascal VOC folders: an XML file for each image.

Coordinates of Pascal VOC count pixels from 1 and include the last one: ``xmin`` 1 and ``xmax`` 500 are the
first and the last column of an image of 500 pixels. As in Detectron2 and supervision, such a box reaches from
0 to 500, so that 1 is subtracted from ``xmin`` and ``ymin`` alone. Some tools count from 0. They are
recognized by an ``xmin`` or ``ymin`` of at least 0 and less than 1 anywhere in the folder, and their
coordinates are used as they are. So are the points of polygons if one of their values is such a number.

An object that is marked as difficult becomes a crowd (``iscrowd`` 1), as in MMDetection: it is no training
target, and a detection of it is neither right nor wrong in an evaluation, which is the rule of the challenge.

Source: the development kit of the challenge, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from mvit_det.data.formats.converter import Converter
from mvit_det.data.formats.interface import Contents
from mvit_det.data.formats.layout import (
    annotation_folders,
    common_folder,
    is_image,
    relative_path,
    split_of,
    walk,
)
from mvit_det.data.formats.voc_images import find_images
from mvit_det.data.formats.voc_xml import VocFile, VocObject, read_voc_file
from mvit_det.data.input_files import read_lines
from mvit_det.data.problems import Problem
from mvit_det.errors import InputError

LOOKED_FOR = "XML files of Pascal VOC in Annotations/ or beside the images"
NUM_SAMPLES = 20  # files by which the format is recognized; the first may be damaged
# The lists in ImageSets/Main that are those of splits. The other lists are those of classes.
LISTS = ("train", "trainval", "val", "valid", "validation", "test")
_FLAG = re.compile(r"\s+-?[01]$")


@dataclass(frozen=True)
class VocSplit:
    """The XML files of a split.

    Attributes:
        paths: the files, sorted.
        folders: where images may be.
        listed: whether ``ImageSets/`` lists the images of the split.
    """

    paths: tuple[Path, ...]
    folders: tuple[Path, ...]
    listed: bool

    @cached_property
    def files(self) -> list[VocFile]:
        """The contents of the files."""
        return [read_voc_file(path) for path in self.paths]


def recognize(folder: Path) -> dict[str, VocSplit] | None:
    """Find the XML files of each split.

    The splits are those of ``ImageSets/Main/``, or else those that the folders of the files name. Files
    without a split are the training set.
    """
    if not folder.is_dir():
        return None
    folders = tuple(walk(folder))
    xml = {each: _xml_files(each) for each in annotation_folders(folder)}
    xml = {each: paths for each, paths in xml.items() if any(map(_is_voc, paths[:NUM_SAMPLES]))}
    if not xml:
        return None
    if lists := _image_sets(folder):
        splits = {split: [_xml_file(name, list(xml)) for name in names] for split, names in lists.items()}
    else:
        by_split: dict[str | None, list[Path]] = {}
        for each, paths in xml.items():
            by_split.setdefault(split_of(relative_path(each, folder)), []).extend(paths)
        unnamed = by_split.pop(None, [])
        splits = ({"train": unnamed} if unnamed else {}) | {
            str(split): paths for split, paths in by_split.items()
        }
    return {
        split: VocSplit(tuple(sorted(set(splits[split]))), folders, bool(lists))
        for split in ("train", "val", "test")
        if splits.get(split)
    }


def explain(folder: Path) -> str | None:
    """Return what a folder lacks that has some files of this format."""
    path = next((path for each in annotation_folders(folder) for path in _xml_files(each)), None)
    if path is None:
        return None
    return f"{relative_path(path, folder)} does not have the root element <annotation> of Pascal VOC"


def read(folder: Path, splits: Mapping[str, VocSplit], split: str) -> Contents:
    """Convert the XML files of a split. The classes are those of all splits, sorted by name, with ids from 1.

    Raises:
        InputError: if the images are not found, or if no object has a class.
    """
    chosen = splits[split]
    all_objects = [obj for each in splits.values() for file in each.files for obj in file.objects or ()]
    names = dict(enumerate(sorted({obj.name for obj in all_objects}), start=1))
    if not names:
        first = next((str(problem) for file in chosen.files for problem in file.problems), "no object")
        raise InputError(f"{folder}: no XML file has an object that can be read: {first}")
    corners = [obj.corners for obj in all_objects if obj.corners[:2] < obj.corners[2:]]  # not of a click
    origin = 0 if any(0 <= value < 1 for each in corners for value in each[:2]) else 1
    points = (value for obj in all_objects for polygon in obj.polygons for value in polygon)
    mask_origin = 0 if any(0 <= value < 1 for value in points) else origin
    category_ids = {name: id_ for id_, name in names.items()}
    image_paths = find_images(chosen.files, chosen.folders, folder)
    problems = [] if chosen.listed else list(_unlabeled(image_paths.values(), splits.values()))
    converter = Converter(common_folder(image_paths.values()), names)
    for file in chosen.files:
        problems += file.problems
        if file.objects is None:  # the image cannot be used
            continue
        objects = []
        for obj in file.objects:
            problem = _check_corners(obj, file.path, origin)
            if problem is not None:
                problems.append(problem)
            if problem is None or problem.effect != "drop":
                source = f"{file.path}: {obj.field}"
                fields = {"category_id": category_ids[obj.name], "iscrowd": int(obj.difficult)}
                objects.append(fields | _shape(obj, origin, mask_origin) | {"_source": source})
        converter.add(image_paths[file.path], file.size, objects, source=file.path)
    return Contents(converter.data, folder, converter.folder, problems)


def _xml_files(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() == ".xml")
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def _is_voc(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096).replace(b"\0", b"")  # of UTF-16
        return re.search(rb"<annotation[\s>]", head) is not None


def _image_sets(folder: Path) -> dict[str, list[str]]:
    """Return split -> names of images without suffix, or nothing if there are no lists."""
    lists = sorted((*folder.glob("ImageSets/Main/*.txt"), *folder.glob("ImageSets/*.txt")))
    lists = [path for path in lists if path.is_file()]
    by_name = {path.stem: path for path in lists if path.stem in LISTS}
    if len(lists) == 1:
        by_name = by_name or {"train": lists[0]}
    if "train" in by_name:  # trainval is train and val
        by_name.pop("trainval", None)
    splits = {}
    for name, path in by_name.items():
        lines = read_lines(path, "a list of images")
        names = [line.strip() for line in lines if line.strip()]
        # Some tools list file names or whole paths of images.
        splits[str(split_of(name))] = [Path(each).stem if is_image(Path(each)) else each for each in names]
    return splits


def _xml_file(name: str, folders: list[Path]) -> Path:
    """Return the XML file of an image in a list. A list may have flags: ``name  1``."""
    names = [_inside(each) for each in (name, _FLAG.sub("", name))]
    paths = [
        folder / f"{each}{suffix}" for each in names for suffix in (".xml", ".XML") for folder in folders
    ]
    return next((path for path in paths if path.is_file()), paths[0])


def _inside(name: str) -> str:
    """Return a name in a list without the folders in front of it if they lead out of its folder."""
    path = PurePosixPath(name)
    return path.name if path.is_absolute() or ".." in path.parts else name


def _unlabeled(images: Iterable[Path], splits: Iterable[VocSplit]) -> Iterator[Problem]:
    """Yield a problem for each image without an XML file."""
    stems = {path.stem for split in splits for path in split.paths}
    images = set(images)
    for folder in sorted({path.parent for path in images}):
        for path in sorted(filter(is_image, folder.iterdir())):
            if path.stem not in stems and path not in images:
                yield Problem("image_without_xml", path, "", "has no XML file; the image is left out")


def _check_corners(obj: VocObject, path: Path, origin: int) -> Problem | None:
    xmin, ymin, xmax, ymax = obj.corners
    text = f"xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g}"
    equal = (xmin == xmax) + (ymin == ymax)
    if xmax < xmin or ymax < ymin or equal > origin:
        return Problem("empty_box", path, f"{obj.field}.bndbox", f"{text} is a box without area")
    if equal:
        return Problem("thin_box", path, f"{obj.field}.bndbox", f"{text} is one pixel wide or high")
    return None


def _shape(obj: VocObject, origin: int, mask_origin: int) -> dict[str, Any]:
    """Return the box and the mask in coordinates that count from 0."""
    xmin, ymin, xmax, ymax = obj.corners
    shape: dict[str, Any] = {
        "bbox": [xmin - origin, ymin - origin, xmax - xmin + origin, ymax - ymin + origin]
    }
    if obj.polygons:
        shape["segmentation"] = [[value - mask_origin for value in polygon] for polygon in obj.polygons]
    return shape
