"""Where a file of weights comes from: the disk, or the web by way of a cache."""

import hashlib
import os
import re
import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch

from mvit_det.errors import InputError
from mvit_det.weights.reading.files import read_file

DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/"  # what detectron2:// stands for
CHUNK = 2**20  # bytes
TIMEOUT = 30  # seconds without an answer


def local_file(source: str | Path) -> Path:
    """Return the file that a path or a URL names, fetched once and kept.

    Args:
        source: a path, a URL, or ``detectron2://`` and a name in Detectron2's storage. A URL may end
            with ``#sha256=`` and the digest of the file.

    Returns:
        the path; for a URL below ``torch.hub.get_dir()``.

    Raises:
        InputError: if it cannot be fetched whole, or is not what it should be.
    """
    text = str(source)
    if text.startswith("detectron2://"):
        text = DETECTRON2 + text.removeprefix("detectron2://")
    if not re.match(r"https?://", text):
        if "://" in text:
            raise InputError(f"{text}: expected a path, http://, https:// or detectron2://")
        return Path(source)
    url, _, check = text.partition("#")
    if check and not re.fullmatch(r"sha256=[0-9a-f]{64}", check):
        raise InputError(f"{text}: after the # expected sha256= and 64 hexadecimal digits")
    name = url.partition("?")[0].rpartition("/")[2] or "weights"
    # By the whole URL: two may end alike, or differ in what follows a question mark.
    kept = Path(torch.hub.get_dir(), "mvit_det", hashlib.sha256(url.encode()).hexdigest()[:16], name)
    if not kept.is_file():
        _fetch(url, kept)
    if check:
        with kept.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != check.removeprefix("sha256="):
            raise InputError(f"{kept}: has not the digest of {text} but {digest}; delete it and try again")
    return kept


def _fetch(url: str, kept: Path) -> None:
    """Fetch a file beside its place, see that it is whole and readable, and only then put it there."""
    part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(url, part)
            read_file(part)
            part.replace(kept)
        finally:
            part.unlink(missing_ok=True)
    except InputError as error:
        raise InputError(str(error).replace(str(part), url)) from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise InputError(f"{url}: cannot be fetched: {reason}") from None


def _download(url: str, part: Path) -> None:
    with urlopen(Request(url, headers={"User-Agent": "mvit_det"}), timeout=TIMEOUT) as answer:
        with part.open("wb") as file:
            shutil.copyfileobj(answer, file, CHUNK)
        expected, found = answer.headers.get("Content-Length"), part.stat().st_size
    if expected is not None and found != int(expected):
        raise InputError(f"{url}: broke off after {found:,} of {int(expected):,} bytes; try again")
