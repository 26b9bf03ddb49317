"""Downloads of single images and videos, which are not kept.

:mod:`mvit_det.weights.reading.download` downloads weight files, which are kept and much larger: it also shows
progress, and continues a download that broke off.
"""

import threading
import time
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mvit_det.errors import DISK_ERRORS, InputError

TIMEOUT = 30  # seconds that the server may take to respond, and between parts of the file
MIN_RATE = 10_000  # bytes a second on average, after the first TIMEOUT seconds
BLOCK = 2**16  # bytes


def is_url(source: object) -> bool:
    """Return whether a source is an http or https URL, and not a path."""
    return str(source).lower().startswith(("http://", "https://"))


def download(url: str, path: Path, max_bytes: int) -> None:
    """Download a file.

    Args:
        url: an http or https URL.
        path: the file to write. If the download fails, an incomplete file may remain.
        max_bytes: the largest number of bytes.

    Raises:
        InputError: if the server cannot be reached, responds with an error, or sends more bytes, fewer than
            it states, or less than ``MIN_RATE`` bytes a second.
    """
    try:
        with _open(url) as response, path.open("wb") as file:
            _copy(url, response, file, max_bytes)
    except (OSError, HTTPException, UnicodeError) as error:
        if getattr(error, "errno", None) in DISK_ERRORS:
            raise
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise InputError(f"{url}: cannot be downloaded: {reason or type(error).__name__}") from None


def _open(url: str) -> Any:
    """Return the response of the server, whose headers must arrive within twice the timeout."""
    response: Future[Any] = Future()

    def open_url() -> None:
        try:
            response.set_result(urlopen(Request(url, headers={"User-Agent": "mvit_det"}), timeout=TIMEOUT))
        except Exception as error:
            response.set_exception(error)

    # The timeout of a socket starts again with every byte, so that a slow server could take any time.
    threading.Thread(target=open_url, daemon=True).start()
    try:
        return response.result(2 * TIMEOUT)
    except ValueError as error:  # a URL without a host, or with a port that is not a number
        raise InputError(f"{url}: is not a URL: {error}") from None


def _copy(url: str, response: Any, file: BinaryIO, max_bytes: int) -> None:
    """Copy the body of a response to a file."""
    length = response.headers.get("Content-Length", "")
    num_expected = int(length) if length.isdecimal() else None
    start, num_bytes = time.monotonic(), 0
    while block := response.read1(BLOCK):  # what has arrived; read would wait for the whole block
        num_bytes += len(block)
        if max(num_bytes, num_expected or 0) > max_bytes:
            raise InputError(f"{url}: has more than {max_bytes:,} bytes, which may be downloaded at most")
        if time.monotonic() - start > TIMEOUT + num_bytes / MIN_RATE:
            raise InputError(f"{url}: arrives too slowly, at less than {MIN_RATE:,} bytes a second")
        file.write(block)
    if num_expected is not None and num_bytes < num_expected:
        raise InputError(f"{url}: the download ended after {num_bytes:,} of {num_expected:,} bytes")
