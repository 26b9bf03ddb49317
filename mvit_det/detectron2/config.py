"""Lazy configs from files and ``key=value`` overrides, with errors that say what would be right."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from mvit_det.errors import InputError, unknown_name


def load_config(path: str, overrides: Sequence[str]) -> DictConfig:
    """Load a lazy config, and set the keys that ``overrides`` name.

    An override ``a.b=value`` may set a key that is there, or a keyword of the class or function that
    the config calls at that place.

    Raises:
        InputError: if there is no such file, it fails, or an override has no such key to set.
    """
    if not path:
        raise InputError("--config-file is missing: name one of configs/")
    if not Path(path).is_file():
        names = [str(near) for near in Path(path).absolute().parent.glob("*.py")]
        raise unknown_name("config file", path, names) if names else InputError(f"{path}: no such file")
    try:
        cfg = LazyConfig.load(path)
    except (SyntaxError, ImportError, AttributeError, TypeError, ValueError, NameError) as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}") from error
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise InputError(f"{override}: expected key=value; flags stand before the first of these")
        _check_key(cfg, key)
    try:
        return LazyConfig.apply_overrides(cfg, list(overrides))
    except Exception as error:  # of hydra's parser, which is not always there to name its own
        raise InputError(f"{' '.join(overrides)}: {' '.join(str(error).split())}") from None


def build(node: Any) -> Any:
    """Instantiate a part of a config.

    Raises:
        InputError: if a value is missing, or a callable refuses its keywords or values.
    """
    try:
        return instantiate(node)
    except (InterpolationToMissingValueError, MissingMandatoryValue) as error:
        key = str(error).splitlines()[0].rpartition(": ")[2]
        raise InputError(f"{key} is not set: add {key}=...") from None
    except InputError:
        raise
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise InputError(" ".join(str(error).split())) from error


def _check_key(cfg: DictConfig, key: str) -> None:
    node: Any = cfg
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if isinstance(node, ListConfig):
            known = set(map(str, range(len(node))))
        elif isinstance(node, DictConfig):
            known = {*map(str, node), *_keywords(node)} - {"_target_"}
        else:
            raise InputError(f"{key}: {'.'.join(parts[:depth])} has no keys of its own; it is {node!r}")
        if part not in known:
            prefix = "".join(f"{parent}." for parent in parts[:depth])
            raise unknown_name("key", key, [prefix + name for name in known])
        node = OmegaConf.select(cfg, ".".join(parts[: depth + 1]), throw_on_missing=False)


def _keywords(node: Mapping[str, Any]) -> set[str]:
    """Return the keywords of what ``node`` calls; of a class with ``**kwargs``, those of its bases too."""
    target: Any = node.get("_target_")
    known: set[str] = set()
    for function in target.__mro__ if isinstance(target, type) else [target]:
        if not callable(function):
            break
        parameters = signature(function).parameters.values()
        known |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return known
