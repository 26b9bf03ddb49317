"""Find lazy configs by path or by name.

The packaged configs are the files in the folder ``configs/`` of the repository, which the wheel contains as
``mvit_det/configs``.
"""

from pathlib import Path

import yaml

import mvit_det
from mvit_det.errors import InputError, unknown_name

PACKAGE = Path(mvit_det.__file__).parent
INSTALLED = PACKAGE / "configs"
CHECKOUT = PACKAGE.parent / "configs"
YAML_SUFFIXES = (".yaml", ".yml")
CONFIG_HELP = "path of a lazy config, or the name of one in configs/, such as mask_rcnn_mvitv2_t_3x"


def config_folder() -> Path:
    """Return the folder of the packaged configs."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def config_names() -> list[str]:
    """Return the names of the packaged configs, such as ``"vitdet/mask_rcnn_mvitv2_b_in21k_100ep"``."""
    paths = [path.relative_to(config_folder()) for path in config_folder().rglob("*.py")]
    return sorted(path.with_suffix("").as_posix() for path in paths if path.parts[0] != "common")


def packaged_config(name: str) -> Path:
    """Return the path of the packaged config ``name``.

    Raises:
        InputError: if no packaged config has this name. The message suggests the nearest.
    """
    names = config_names()
    if name not in names:
        raise unknown_name("config", name, names)
    return config_folder() / f"{name}.py"


def find_config(source: str) -> Path:
    """Return the path of a config.

    Args:
        source: path of a file, or else the name of a packaged config.

    Raises:
        InputError: if there is neither such a file nor such a packaged config. The message suggests the
            nearest name or, for a path, the nearest file.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.suffix != ".py":
        return packaged_config(source)
    neighbors = [str(neighbor) for neighbor in path.parent.glob("*.py")]
    if not neighbors and path.stem in config_names():
        raise InputError(f"{source}: no such file; did you mean the packaged config {path.stem!r}?")
    raise unknown_name("config", source, neighbors or config_names())


def check_yaml(path: Path) -> None:
    """Check that a YAML config runs no code in PyYAML's unsafe loader, with which Detectron2 loads it.

    Raises:
        InputError: if the file is not YAML, or has a tag that stands for more than plain data.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yaml.load(file, Loader=_PlainDataLoader)
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise InputError(
            f"{path}: {where}{error.problem}; a YAML config may contain only plain data"
        ) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split()):.200}") from None


class _PlainDataLoader(yaml.SafeLoader):
    """Accepts tuples in addition, which Detectron2 writes into the configs of its runs."""


_PlainDataLoader.add_constructor("tag:yaml.org,2002:python/tuple", yaml.SafeLoader.construct_yaml_seq)
