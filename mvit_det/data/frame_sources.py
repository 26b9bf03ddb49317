"""What detection reads: images, folders of images, a video or a camera, and URLs of images and videos."""

import os
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mvit_det.data.downloads import is_url
from mvit_det.data.images import SUFFIXES
from mvit_det.data.input_files import check_regular
from mvit_det.data.videos import (
    CAMERA,
    VIDEO_SUFFIXES,
    Check,
    Video,
    download_video,
    open_camera,
    open_video,
)
from mvit_det.errors import InputError, counted

Source = str | Path
MAX_NAME = 100  # characters of a part of a URL in the name of an image


def find_video(sources: Sequence[Source]) -> Source | None:
    """Return the video or the camera if the only source is one, or None if the sources are images.

    Raises:
        InputError: if one of several sources is a video or a camera, or if a URL or a camera is malformed.
    """
    for source in sources:
        _check_scheme(source)
        if _is_video(source):
            if len(sources) > 1:
                raise InputError(f"{source}: is a video or a camera, which must be the only source")
            return source
    return None


def open_source_video(source: Source, check: Check | None = None) -> Video:
    """Open a video file, the video at a URL, or a camera, which :func:`find_video` has found.

    Args:
        source: the video.
        check: function that is called with a file before it is opened again, for example to read all frames.

    Raises:
        InputError: if it cannot be read, or by ``check``.
    """
    if is_url(source):
        return download_video(str(source), _url_names(str(source))[-1], check)
    camera = _camera_number(source)
    return open_video(Path(source), check) if camera is None else open_camera(camera)


def _check_scheme(source: Source) -> None:
    """Refuse URLs that are not http or https, and cameras without a number, unless a file has this name."""
    text = str(source)
    if is_url(source) or os.path.exists(source):
        return
    if "://" in text:
        raise InputError(f"{text}: expected a path, http:// or https://")
    if text.startswith("camera:") and not CAMERA.fullmatch(text):
        raise InputError(f"{text}: expected the number of a camera, such as camera:0")


def _is_video(source: Source) -> bool:
    if is_url(source):
        return PurePosixPath(urlsplit(str(source)).path).suffix.lower() in VIDEO_SUFFIXES
    if _camera_number(source) is not None:
        return True
    return Path(source).suffix.lower() in VIDEO_SUFFIXES and not Path(source).is_dir()


def _camera_number(source: Source) -> int | None:
    """Return the number of a camera. A path that exists is not a camera."""
    match = CAMERA.fullmatch(str(source))
    return int(match[1]) if match and not Path(source).exists() else None


def find_images(
    sources: Sequence[Source],
    left_out: Path | None = None,
    on_video: Callable[[Path], None] | None = None,
) -> dict[str, Path | str]:
    """Return name -> path or URL of images, and of the images in folders and their subfolders.

    The name is the path relative to the folder, or to the folder that contains all sources if there are
    several. A URL is named by its host and path, or by the last part of its path if it is the only source.
    Images in a folder are sorted by path. Hidden files and folders are left out. Links to folders are
    followed, and each folder is read once.

    Args:
        sources: image files, folders, and URLs of images.
        left_out: another folder that is left out.
        on_video: function that is called for each video in a folder, which is left out.

    Raises:
        InputError: if a source does not exist or is a folder without images, or if there is no source.
    """
    if not sources:
        raise InputError("no images: expected at least one")
    paths: list[Path] = []
    folders: list[Path] = []
    for source in sources:
        if not str(source):
            raise InputError("source '': is empty; expected an image, a folder of images or a video")
        if is_url(source):
            continue
        path = Path(source)
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file or folder")
        if path.is_dir():
            folders.append(path)
            paths += _images_in_folder(path, left_out, on_video)
        else:
            check_regular(path, "an image, a folder of images or a video")
            folders.append(path.parent)
            paths.append(path)
    images: dict[str, Path | str] = {}
    if folders:
        root = os.path.commonpath([os.path.abspath(folder) for folder in folders])
        images = {Path(os.path.relpath(path, root)).as_posix(): path for path in paths}
    for url in dict.fromkeys(str(source) for source in sources if is_url(source)):
        parts = _url_names(url)
        name = PurePosixPath(*(parts if len(sources) > 1 else parts[-1:]))
        images[unused_name(name, images)] = url
    return images


def _images_in_folder(
    folder: Path, left_out: Path | None, on_video: Callable[[Path], None] | None
) -> list[Path]:
    files = sorted(_files_in(folder, left_out))
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not images and videos:
        number = counted(len(videos), "video")
        raise InputError(f"{folder}: contains no images, but {number}, each of which must be the only source")
    if not images:
        raise InputError(f"{folder}: contains no images; expected {', '.join(sorted(SUFFIXES))}")
    if on_video is not None:
        for video in videos:
            on_video(video)
    return images


def _files_in(root: Path, left_out: Path | None) -> Iterator[Path]:
    visited = {os.path.realpath(root)} | ({os.path.realpath(left_out)} if left_out else set())
    for folder, subfolders, names in os.walk(root, followlinks=True):
        kept = []
        # Folders come before links to them, which would give their images another name.
        for name in sorted(subfolders, key=lambda name: (os.path.islink(os.path.join(folder, name)), name)):
            path = os.path.realpath(os.path.join(folder, name))
            if not name.startswith(".") and path not in visited:
                visited.add(path)
                kept.append(name)
        subfolders[:] = kept
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _url_names(url: str) -> list[str]:
    """Return the host and the parts of the path of a URL, as names of folders and a file."""
    split = urlsplit(url)
    parts = [unquote(part).replace("/", "_")[-MAX_NAME:] for part in split.path.split("/")]
    return [split.hostname or "", *(part for part in parts if part not in ("", ".", ".."))]


def unused_name(name: PurePosixPath, used: Container[str]) -> str:
    """Return the name of an image with, if it is used, a number before its suffix."""
    names = chain([name], (name.with_name(f"{name.stem}-{number}{name.suffix}") for number in count(2)))
    return next(str(name) for name in names if str(name) not in used)
