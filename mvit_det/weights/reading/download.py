"""Downloads weight files, and caches them."""

import hashlib
import re
import shutil
import threading
import time
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote
from urllib.request import Request, urlopen

import torch

from mvit_det.errors import InputError, counted
from mvit_det.files import replaced_file
from mvit_det.weights.reading.files import read_file

DETECTRON2_URL = "https://dl.fbaipublicfiles.com/detectron2/"  # replaces detectron2://
TIMEOUT = 30  # seconds that the server may take to respond, and between parts of the file
MAX_NAME = 100  # characters of the name of a download
MAX_BYTES = 2**34  # of a download; the largest detector with the state of its optimizer has 2**33
RESERVE = 2**30  # bytes that stay free on the disk if the server does not state the size of the file
MIN_RATE = 10_000  # bytes a second on average, after the first TIMEOUT seconds
BLOCK = 2**16  # bytes


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
        if ".." in re.split(r"[/\\]", unquote(text)):
            raise InputError(f"{text}: leads out of Detectron2's model zoo; expected a path without ..")
        text = DETECTRON2_URL + text.removeprefix("detectron2://")
    if not re.match(r"https?://", text):
        if "://" in text:
            raise InputError(f"{text}: expected a path, http://, https:// or detectron2://")
        return Path(source)
    url, _, fragment = text.partition("#")
    if fragment and not re.fullmatch(r"sha256=[0-9a-f]{64}", fragment):
        raise InputError(f"{text}: after the # expected sha256= and 64 hexadecimal digits")
    name = url.partition("?")[0].rpartition("/")[2][-MAX_NAME:]
    name = "weights" if name in ("", ".", "..") else name
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
        with _open(url) as response:
            length = response.headers.get("Content-Length")
            size = None if length is None else int(length)
            limit = MAX_BYTES
            if size is None:
                limit = min(limit, shutil.disk_usage(_existing_folder(path)).free - RESERVE)
            elif size > limit:
                raise InputError(f"{url}: has {counted(size, 'byte')}; expected at most {limit:,}")
            with replaced_file(path, size=size) as file:
                _copy(url, response, file, limit)
                file.flush()
                _check_download(url, Path(file.name), size)
    except InputError:
        raise
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise InputError(f"{url}: cannot be downloaded: {reason}") from None


def _open(url: str) -> Any:
    """Return the response of the server, whose headers must arrive within twice the timeout."""
    response: Future[Any] = Future()

    def open_url() -> None:
        try:
            response.set_result(urlopen(Request(url, headers={"User-Agent": "mvit_det"}), timeout=TIMEOUT))
        except Exception as error:
            response.set_exception(error)

    # The timeout of a socket starts again with every byte, so a slow server could take any time.
    threading.Thread(target=open_url, daemon=True).start()
    try:
        return response.result(2 * TIMEOUT)
    except TimeoutError:
        raise InputError(f"{url}: cannot be downloaded: the server does not answer; try again") from None


def _copy(url: str, response: Any, file: BinaryIO, limit: int) -> None:
    """Copy a response to a file.

    Raises:
        InputError: if it has more than ``limit`` bytes, or arrives too slowly.
    """
    start, num_bytes = time.monotonic(), 0
    while block := response.read1(BLOCK):  # what has arrived; read would wait for the whole block
        num_bytes += len(block)
        if num_bytes > limit:
            raise InputError(f"{url}: has more than {max(limit, 0):,} bytes, which may be downloaded at most")
        if time.monotonic() - start > TIMEOUT + num_bytes / MIN_RATE:
            raise InputError(
                f"{url}: arrives too slowly: {counted(num_bytes, 'byte')} in "
                f"{time.monotonic() - start:.0f} seconds; try again, or download it in another way"
            )
        file.write(block)


def _existing_folder(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def _check_download(url: str, path: Path, expected_size: int | None) -> None:
    size = path.stat().st_size
    if expected_size not in (None, size):
        raise InputError(f"{url}: the download ended after {size:,} of {expected_size:,} bytes; try again")
    try:
        read_file(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), url)) from None
