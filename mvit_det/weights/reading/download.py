"""Downloads weight files, and caches them."""

import hashlib
import re
import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch

from mvit_det.errors import InputError
from mvit_det.files import replaced_file
from mvit_det.weights.reading.files import read_file

DETECTRON2_URL = "https://dl.fbaipublicfiles.com/detectron2/"  # replaces detectron2://
TIMEOUT = 30  # seconds that the server may take to respond


def local_file(source: str | Path) -> Path:
    """Return the local path of a weight file. A URL is downloaded the first time.

    Args:
        source: a path, a URL, or ``detectron2://`` and the path of a file in Detectron2's model zoo. A URL
            may end with ``#sha256=`` and the digest of the file.

    Returns:
        the path itself, or the path of the download in the folder ``mvit_det`` of ``torch.hub.get_dir()``.

    Raises:
        InputError: if a URL has another scheme or a malformed digest; or if a download is incomplete, is not
            a weight file that can be read, or has another digest. A path is not checked.
    """
    text = str(source)
    if text.startswith("detectron2://"):
        text = DETECTRON2_URL + text.removeprefix("detectron2://")
    if not re.match(r"https?://", text):
        if "://" in text:
            raise InputError(f"{text}: expected a path, http://, https:// or detectron2://")
        return Path(source)
    url, _, fragment = text.partition("#")
    if fragment and not re.fullmatch(r"sha256=[0-9a-f]{64}", fragment):
        raise InputError(f"{text}: after the # expected sha256= and 64 hexadecimal digits")
    name = url.partition("?")[0].rpartition("/")[2] or "weights"
    # Files of different URLs can have the same name, so each URL has its own folder.
    cached = Path(torch.hub.get_dir(), "mvit_det", hashlib.sha256(url.encode()).hexdigest()[:16], name)
    if not cached.is_file():
        _download_and_check(url, cached)
    if fragment:
        with cached.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != fragment.removeprefix("sha256="):
            raise InputError(
                f"{cached}: has the digest {digest}, not that of {text}; delete it and try again"
            )
    return cached


def _download_and_check(url: str, path: Path) -> None:
    """Download a file under a temporary name, and rename it when it is complete and can be read."""
    try:
        with urlopen(Request(url, headers={"User-Agent": "mvit_det"}), timeout=TIMEOUT) as response:
            length = response.headers.get("Content-Length")
            size = None if length is None else int(length)
            with replaced_file(path, size=size) as file:
                shutil.copyfileobj(response, file)
                file.flush()
                _check_download(url, Path(file.name), size)
    except InputError:
        raise
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise InputError(f"{url}: cannot be downloaded: {reason}") from None


def _check_download(url: str, path: Path, expected_size: int | None) -> None:
    size = path.stat().st_size
    if expected_size not in (None, size):
        raise InputError(f"{url}: the download ended after {size:,} of {expected_size:,} bytes; try again")
    try:
        read_file(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), url)) from None
