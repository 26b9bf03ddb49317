"""Reading and writing of JSON files."""

import json
from pathlib import Path
from typing import Any

from mvit_det.errors import InputError


def read_json(path: Path, kind: type, expected: str) -> Any:
    """Return the contents of a JSON file.

    Args:
        path: the file.
        kind: the required type of the contents.
        expected: a description of the required contents, for the error message.

    Raises:
        InputError: if the file cannot be read, is not JSON, or holds another type.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a COCO-format JSON") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: is not JSON: {error.msg} at {position}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    if not isinstance(data, kind):
        raise InputError(f"{path}: holds a {type(data).__name__}; expected {expected}")
    return data


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON. An interrupted write leaves an existing file unchanged."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
    temporary.replace(path)
