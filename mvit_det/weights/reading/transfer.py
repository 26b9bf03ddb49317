"""Transfers a file from a server.

``huggingface_hub.file_download.http_get`` does the work. It takes any URL, continues after an interruption
with a range request, starts again if the server ignores ranges, checks the size, and shows progress on a
terminal. (Pooch, the alternative, checks digests, but starts every download from zero.) It sets no limits:
those that keep a server from filling the disk or from taking any time are here.
"""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, TypeVar

from mvit_det.errors import DISK_ERRORS, InputError, counted

TIMEOUT = 30  # seconds that the server may take to respond
MAX_BYTES = 2**34  # of a file; the largest detector with the state of its optimizer has 2**33
RESERVE = 2**30  # bytes that stay free on the disk if the server does not state the size of the file
MIN_RATE = 10_000  # bytes a second on average, after the first TIMEOUT seconds
MAX_RESTARTS = 5  # of a transfer that breaks off, from a server that cannot continue it
HEADERS = {"Accept-Encoding": "identity"}  # compressed, a file could not be continued

T = TypeVar("T")


class BrokenOffError(InputError):
    """A transfer ended early. Another one can continue it."""


def query(url: str) -> tuple[int | None, str]:
    """Return the size of a file, and the ``ETag`` or date that changes with its content.

    Returns:
        the size in bytes, or None if the server does not state it; and the ETag, the date or an empty
        string.

    Raises:
        InputError: if the server cannot be reached.
    """
    from huggingface_hub import get_session

    request = _in_thread(lambda: get_session().head(url, headers=HEADERS, timeout=TIMEOUT))
    # The timeout of a connection starts again with every byte, so a slow server could take any time.
    if not wait([request], 2 * TIMEOUT).done:
        raise InputError(f"{url}: cannot be downloaded: the server does not answer; try again")
    if error := request.exception():
        raise InputError(f"{url}: cannot be downloaded: {_reason(error)}")
    response = request.result()
    if not response.is_success:  # some servers refuse this request only; otherwise, the next one fails too
        return None, ""
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() else 0
    return size or None, response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def receive(url: str, path: Path, size: int | None, name: str) -> None:
    """Append what ``path`` lacks of a file. On a terminal, show a progress bar.

    Args:
        url: an ``http`` or ``https`` address.
        path: the incomplete file; it need not exist.
        size: number of bytes of the complete file, if known.
        name: label of the progress bar.

    Raises:
        BrokenOffError: if the transfer ends early or is too slow.
        InputError: if the server sends no file, or too many bytes.
        OSError: if ``path`` cannot be written.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get

    free = shutil.disk_usage(path.parent).free - RESERVE
    with path.open("ab") as file:
        target = _Target(url, file, min(MAX_BYTES, free) if size is None else size)
        num_present, start = file.tell(), monotonic()
        transfer = _in_thread(
            lambda: http_get(
                url,
                target,  # type: ignore[arg-type]
                resume_size=num_present,
                headers=HEADERS,
                expected_size=size,
                displayed_filename=name,
            )
        )
        while not wait([transfer], 1).done:
            # http_get writes whole chunks, so one more may have arrived. When the file is closed, the thread
            # cannot write to it anymore, and ends.
            num_bytes = file.tell() - num_present
            seconds = monotonic() - start
            if seconds > TIMEOUT + (num_bytes + constants.DOWNLOAD_CHUNK_SIZE) / MIN_RATE:
                raise BrokenOffError(
                    f"{url}: arrives too slowly: {counted(num_bytes, 'byte')} in {seconds:.0f} seconds; "
                    "try again, or download it in another way"
                )
        file.flush()
        os.fsync(file.fileno())
        num_bytes = file.tell()
    error = transfer.exception()
    if isinstance(error, InputError) or (isinstance(error, OSError) and error.errno in DISK_ERRORS):
        raise error
    if error is not None and num_bytes == 0:
        raise InputError(f"{url}: cannot be downloaded: {_reason(error)}")
    if error is not None:
        of_size = "" if size is None else f" of {size:,}"
        # http_get raises a plain OSError if the connection was closed in an orderly manner, but too early.
        reason = "the connection was closed" if type(error) is OSError else _reason(error)
        raise BrokenOffError(
            f"{url}: the download ended after {num_bytes:,}{of_size} bytes: {reason}; try again"
        )


class _Target:
    """The incomplete file that ``http_get`` writes to. Its size and the number of new starts are limited."""

    def __init__(self, url: str, file: BinaryIO, limit: int) -> None:
        self._url, self._file, self._limit, self._num_restarts = url, file, limit, 0
        self.tell, self.seek = file.tell, file.seek

    def write(self, block: bytes) -> int:
        if self._file.tell() + len(block) > self._limit:
            raise InputError(
                f"{self._url}: has more than {max(self._limit, 0):,} bytes, which may be downloaded at most"
            )
        return self._file.write(block)

    def truncate(self) -> int:
        """Discard what follows the current position, where the server starts the file again."""
        self._num_restarts += 1
        if self._num_restarts > MAX_RESTARTS:
            raise InputError(
                f"{self._url}: cannot be downloaded: it broke off {self._num_restarts} times, and the server "
                "does not continue a download; download it in another way"
            )
        return self._file.truncate()


def _in_thread(function: Callable[[], T]) -> Future[T]:
    """Run a function in a thread that does not keep the process alive."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


def _reason(error: BaseException) -> str:
    """Describe an error of the HTTP client, whose exceptions differ between versions of huggingface-hub."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code} {response.reason_phrase}".rstrip()
    return " ".join(str(error).split())[:300] or type(error).__name__
