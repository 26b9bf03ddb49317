"""Finds a weight file by its path, its URL or the name of a published model."""

import re
from pathlib import Path
from urllib.parse import unquote

from mvit_det.errors import InputError
from mvit_det.weights.published import DETECTRON2, PUBLISHED, unknown_source, wrong_kind
from mvit_det.weights.reading.download import download

DRIVE = "https://drive.google.com/"


def local_file(source: str | Path, *kinds: str) -> Path:
    """Return the local path of a weight file. A URL is downloaded the first time.

    Args:
        source: a path; a URL, which may end with ``#sha256=`` and the digest of the file; ``detectron2://``
            and the path of a file in Detectron2's model zoo; or the name of a published model, a key of
            :data:`mvit_det.weights.PUBLISHED`. A path that exists takes precedence over a name.
        *kinds: kinds of published models that the caller can use, as in
            :attr:`mvit_det.weights.published.PublishedModel.kind`; by default, all.

    Returns:
        the path itself, or the path of the download in the folder ``mvit_det`` of ``torch.hub.get_dir()``.

    Raises:
        InputError: if a URL has another scheme or a malformed digest; if there is neither a file nor a
            published model of this name; if a published model is of another kind, before it is downloaded; or
            if a download fails, see
            :func:`mvit_det.weights.reading.download.download`. The content of a path is not checked.
        RunError: if a download cannot be written to the disk.
    """
    text = str(source)
    if "://" not in text:
        if text not in PUBLISHED or Path(source).exists():
            return _existing(Path(source))
        if kinds and PUBLISHED[text].kind not in kinds:
            raise wrong_kind(text)
        text = PUBLISHED[text].url
    url, _, fragment = text.partition("#")
    if fragment and not re.fullmatch(r"sha256=[0-9a-f]{64}", fragment):
        raise InputError(f"{text}: after the # expected sha256= and 64 hexadecimal digits")
    return download(_address(url), fragment.removeprefix("sha256="))


def _existing(path: Path) -> Path:
    """Return a path. One without a suffix that does not exist is taken for a misspelled name."""
    if not path.suffix and not path.exists():
        raise unknown_source(str(path))
    return path


def _address(url: str) -> str:
    """Return the ``http`` address of a URL."""
    if url.startswith("detectron2://"):
        if ".." in re.split(r"[/\\]", unquote(url)):
            raise InputError(f"{url}: leads out of Detectron2's model zoo; expected a path without ..")
        return DETECTRON2 + url.removeprefix("detectron2://")
    if url.startswith(DRIVE):
        raise InputError(
            f"{url}: Google Drive serves only browsers; download the file there, and name its path"
        )
    if not re.match(r"https?://", url):
        raise InputError(f"{url}: expected a path, http://, https:// or detectron2://")
    return url
