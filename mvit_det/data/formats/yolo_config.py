"""The names of the classes of a YOLO folder, and the paths of its images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mvit_det.data.formats.layout import split_of, walk
from mvit_det.errors import InputError, counted, printable

NAMES_FILES = ("classes.txt", "obj.names", "_darknet.labels")  # of labelImg and Label Studio, CVAT, Roboflow
MAX_CLASSES = 100_000
KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class YoloConfig:
    """What ``data.yaml`` or ``classes.txt`` states.

    Attributes:
        path: the file.
        names: class number -> name.
        images: split -> the folders of images and the lists of images that ``data.yaml`` names.
    """

    path: Path
    names: dict[int, str]
    images: dict[str, tuple[Path, ...]] = field(default_factory=dict)


def find_config(path: Path) -> YoloConfig | None:
    """Read the ``data.yaml`` or the ``classes.txt`` of a folder, or return None if it has neither.

    Args:
        path: the folder, or a YAML file.

    Raises:
        InputError: if the file has values that cannot be used, or if several YAML files name classes.
    """
    configs = [path] if path.is_file() else sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
    contents = {config: data for config in configs if _has_names(data := _read_yaml(config, path))}
    if named_data := [config for config in contents if config.stem.lower() == "data"]:
        contents = {named_data[0]: contents[named_data[0]]}
    if len(contents) > 1:
        raise InputError(
            f"{path}: {' and '.join(file.name for file in contents)} both name classes; give one"
        )
    for config, data in contents.items():
        _check_keys(config)
        return _parse(config, data)
    for file in (folder / name for folder in walk(path) for name in NAMES_FILES):
        if file.is_file():
            return _read_names(file)
    return None


def resolve(text: str, folder: Path) -> Path:
    """Return the file or folder that a path in ``data.yaml`` or in a list of images means.

    Exporters write paths that are valid elsewhere, such as ``../train/images`` (Roboflow),
    ``data/obj_train_data/1.jpg`` (CVAT) or the absolute path on the machine of the export. Leading parts are
    left out until the rest exists in ``folder``, but not the part that names the split. If nothing exists,
    returns ``folder / text``.
    """
    text = text.replace("\\", "/")
    literal = folder / text
    if not text.startswith("..") and literal.exists():
        return literal
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        rest = "/".join(parts[start:])
        if split_of(rest) == split_of(text) and (folder / rest).exists():
            return folder / rest
    return literal


def _read_yaml(config: Path, path: Path) -> Any:
    """Return the contents of a YAML file; None if it is damaged and need not belong to the data set."""
    try:
        # The base loader leaves every value a string: a class may be called "no" or "1.0".
        return yaml.load(config.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        if config != path and config.stem.lower() != "data":
            return None
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{config}: is not YAML: {getattr(error, 'problem', None) or error}{where}"
        ) from None


class _UniqueKeysLoader(yaml.BaseLoader):
    """Raises an error for a key that is repeated, of which PyYAML would keep the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if key in keys:
                line = key_node.start_mark.line + 1
                raise InputError(f"line {line}: the key {printable(key, 60)!r} is repeated; keep one of them")
            keys.add(key)
        return super().construct_mapping(node, deep)


def _check_keys(config: Path) -> None:
    try:
        yaml.load(config.read_text(encoding="utf-8-sig"), Loader=_UniqueKeysLoader)
    except InputError as error:
        raise InputError(f"{config}: {error}") from None


def _has_names(data: Any) -> bool:
    return isinstance(data, dict) and ("names" in data or "nc" in data)


def _parse(path: Path, data: dict[str, Any]) -> YoloConfig:
    if "kpt_shape" in data:
        raise InputError(
            f"{path}: kpt_shape: labels with keypoints are not supported; export boxes or polygons"
        )
    names = _names(path, data)
    root = path.parent
    if base := _text(data.get("path")):
        root = next((each for each in (root / base, resolve(base, root)) if each.is_dir()), root)
    images = {}
    for split, keys in KEYS.items():
        stated = next((data[key] for key in keys if data.get(key)), None)
        texts = [text for each in (stated if isinstance(stated, list) else [stated]) if (text := _text(each))]
        paths = [_find(text, root, path.parent) for text in texts]
        if split == "test" or (split == "val" and "roboflow" in data):
            # Roboflow names the folders even if the splits are empty.
            paths = [each for each in paths if each.exists()]
        for text, each in zip(texts, paths, strict=False):
            if not each.exists():
                raise InputError(
                    f"{path}: {split}: {text!r} does not exist; correct the path, or remove the line if "
                    "there is no such split"
                )
        if paths:
            images[split] = tuple(paths)
    return YoloConfig(path, names, images)


def _find(text: str, root: Path, folder: Path) -> Path:
    found = resolve(text, root)
    return found if found.exists() else resolve(text, folder)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) and value not in ("null", "~") else ""


def _names(path: Path, data: dict[str, Any]) -> dict[int, str]:
    names = data.get("names")
    count = _whole_number(data["nc"]) if _text(data.get("nc")) else None
    if count is None and _text(data.get("nc")):
        raise InputError(f"{path}: nc: is not the number of classes; expected a whole number")
    if names is None and count is not None:
        names = [f"class{number}" for number in range(count)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise InputError(f"{path}: names: expected a list of the names of the classes, or number: name")
    result = {}
    for key, name in names.items():
        number = _whole_number(key)
        if number is None or not isinstance(name, str):
            raise InputError(f"{path}: names: {key}: expected the number of a class and its name")
        result[number] = name
    if count is not None and count != len(result):
        classes = counted(len(result), "class", "classes")
        raise InputError(f"{path}: nc is {count}, but names has {classes}; correct one of them")
    return result


def _whole_number(value: Any) -> int | None:
    """Return a whole number from 0 to ``MAX_CLASSES``, or None if ``value`` is anything else."""
    text = str(value).strip() if isinstance(value, (str, int)) else ""
    number = int(text) if text.isdecimal() and len(text) <= len(str(MAX_CLASSES)) else -1
    return number if 0 <= number <= MAX_CLASSES else None


def _read_names(path: Path) -> YoloConfig:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise InputError(f"{path}: line {number}: is empty; expected the name of class {number - 1}")
    if not lines:
        raise InputError(f"{path}: is empty; expected the name of one class a line")
    return YoloConfig(path, {number: line.strip() for number, line in enumerate(lines)})
