"""JSON files with a checksum, for files that a later run needs again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mvit_det.data.json_files import read_json, write_json
from mvit_det.errors import InputError

CHECKSUM = "sha256"  # key of the checksum of a file's other keys


def write_checked_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` as JSON, with a checksum that :func:`read_checked_json` tests.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    write_json(path, {**data, CHECKSUM: _checksum(data)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """Return what :func:`write_checked_json` wrote. A file without a checksum is read too.

    Raises:
        InputError: if the file is missing, is not a JSON object, or was changed after it was written.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    data: dict[str, Any] = read_json(path, dict, "a JSON object")
    if data.pop(CHECKSUM, None) not in (None, _checksum(data)):
        raise InputError(f"{path}: is damaged: its content does not match its checksum")
    return data


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
