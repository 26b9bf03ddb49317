"""Search for the images of a COCO-format file."""

import contextlib
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mvit_det.data.formats.layout import split_of
from mvit_det.data.json_files import mapped_json
from mvit_det.errors import InputError

NUM_SAMPLES = 20  # file names by which the folder of images is found

_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def find_image_folder(path: Path, split: str, root: Path, folders: Sequence[Path]) -> Path:
    """Return the folder, among ``folders``, that holds most of the first images of an annotation file.

    If several do, it is the folder of the file, else a folder with the name of the split, else one whose
    name is that of no split.

    Raises:
        InputError: if no folder holds any of them.
    """
    names = _first_file_names(path)
    if not names:  # an empty or damaged file, which the check of its entries reports
        return path.parent

    def order(candidate: Path) -> tuple[bool, int]:
        candidate_split = split_of(candidate.relative_to(root).as_posix())
        return candidate != path.parent, {split: 0, None: 1}.get(candidate_split, 2)

    candidates = sorted(folders, key=order)
    bare_names = [name.rpartition("/")[2] for name in names]
    spread = _folder_of_spread_images(names, candidates)
    if spread is not None:
        return spread
    for forms in (names, bare_names, *_other_normalizations(names), *_other_normalizations(bare_names)):
        hits = [sum((candidate / name).is_file() for name in forms) for candidate in candidates]
        if max(hits):
            return candidates[hits.index(max(hits))]
    raise InputError(
        f"{path}: its images, such as {names[0]!r}, are neither in {root} nor in its subfolders; "
        "put them there, or give the file and the folder of its images"
    )


def _folder_of_spread_images(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """Return the folder above the images of an annotation file that are spread over several folders.

    Returns None if one folder holds as many of the images, or if two folders have an image of the same name.
    Only names without a folder are looked at.
    """
    names = [name for name in names if "/" not in name]
    holding = [
        (folder, found) for folder in folders if (found := {n for n in names if (folder / n).is_file()})
    ]
    union = set().union(*(found for _, found in holding))
    counts = [len(found) for _, found in holding]
    if len(counts) < 2 or sum(counts) != len(union):
        return None
    return Path(os.path.commonpath([folder for folder, _ in holding]))


def _other_normalizations(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield the names in the Unicode normalizations that a file system or a tool may have written."""
    for form in ("NFC", "NFD"):
        yield [unicodedata.normalize(form, name) for name in names]


def _first_file_names(path: Path) -> list[str]:
    with mapped_json(path) as content:
        matches = [match[1] for match in itertools.islice(_FILE_NAME.finditer(content), NUM_SAMPLES)]
    names = []
    for match in matches:
        with contextlib.suppress(ValueError):
            names.append(json.loads(match).replace("\\", "/").removeprefix("./"))
    return names
