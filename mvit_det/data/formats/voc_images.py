"""Search for the images of the XML files of Pascal VOC."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mvit_det.data.formats.layout import is_image, split_of
from mvit_det.data.formats.voc_xml import VocFile
from mvit_det.errors import InputError

Images = Mapping[str, Path]  # name of an image, with and without its suffix -> path


def find_images(files: Sequence[VocFile], folders: Sequence[Path], root: Path) -> dict[Path, Path]:
    """Return XML file -> image. An image has the name of its XML file, or else the one that the file states.

    The images of the XML files in one folder are usually in one folder. If several folders have images of
    these names, the one that shares the most names of folders with the XML files is taken, such as
    ``images/val`` for ``annotations/val``, or ``val/images`` for ``val/annotations``. Images that are spread
    over several folders are found too, if no two folders have an image of the same name.

    Args:
        files: the contents of the XML files of a split.
        folders: where images may be.
        root: the folder of the data set, which contains ``folders``.

    Raises:
        InputError: if no image is found, or if several images fit an XML file equally well.
    """
    available = {folder: _images_in(folder) for folder in folders}
    by_folder: dict[Path, list[VocFile]] = {}
    for file in files:
        by_folder.setdefault(file.path.parent, []).append(file)
    images: dict[Path, Path] = {}
    for folder, group in by_folder.items():
        images |= _find_in_folders(folder, group, available, root)
    if not any(path.is_file() for path in images.values()):
        xml, image = next(iter(images.items()))
        raise InputError(f"{xml}: its image {image.name!r} and those of the other files were not found")
    return images


def _find_in_folders(
    own: Path, files: Sequence[VocFile], available: Mapping[Path, Images], root: Path
) -> dict[Path, Path]:
    """Return XML file -> image for the XML files in the folder ``own``."""
    found = {
        folder: {file.path: image for file in files if (image := _image_of(file, images))}
        for folder, images in available.items()
    }
    stated = {file.path: file.file_name for file in files}
    own_names = _folder_names(own, root)

    def rank(folder: Path) -> tuple[object, ...]:
        hits = found[folder]
        exact = sum(image.name == stated[path] for path, image in hits.items())
        shared = len(own_names & _folder_names(folder, root))
        # Masks may have the names of the images.
        is_named = "images" in folder.name.lower()
        return 2 * len(hits) >= len(files), folder == own, shared, exact, len(hits), is_named

    best, *others = sorted(available, key=rank, reverse=True)
    result = dict(found[best])
    for folder in others:
        repeated = found[folder].keys() & result.keys()
        if not repeated:  # the images are spread over several folders
            result |= found[folder]
        elif rank(folder) == rank(best):
            path = min(repeated)
            raise InputError(
                f"{path}: {result[path]} and {found[folder][path]} both have the name of its image; "
                "name the folders of XML files as those of the images, or remove one of the images"
            )
    return {path: result.get(path, best / (name or f"{path.stem}.jpg")) for path, name in stated.items()}


def _images_in(folder: Path) -> Images:
    paths = sorted(path for path in folder.iterdir() if is_image(path))
    return {path.stem: path for path in paths} | {path.name: path for path in paths}


def _image_of(file: VocFile, images: Images) -> Path | None:
    if Path(file.file_name).stem == file.path.stem and file.file_name in images:
        return images[file.file_name]
    return images.get(file.path.stem) or images.get(file.file_name) or images.get(Path(file.file_name).stem)


def _folder_names(folder: Path, root: Path) -> set[str]:
    """Return the names of a folder and its parents below ``root``; of a folder of a split, the split."""
    return {split_of(name) or name.lower() for name in folder.relative_to(root).parts}
