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
    except Exception as error:  # it is code, and the user's
        cause = error.__cause__ or error  # where Detectron2 leaves the line out
        raise InputError(f"{path}: {type(cause).__name__}: {cause}") from error
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise InputError(f"{override}: expected key=value; flags stand before the first of these")
        before = _check_key(cfg, key)
        try:
            LazyConfig.apply_overrides(cfg, [override])
        except Exception as error:  # of hydra's parser, which is not always there to name its own
            raise InputError(f"{override}: {' '.join(str(error).split())}") from None
        after = _select(cfg, key)
        if isinstance(before, bool) and not isinstance(after, bool):
            raise InputError(f"{key} is {after!r}: expected true or false")
        holds_keys = isinstance(before, DictConfig) and "_target_" not in before
        if holds_keys and not isinstance(after, DictConfig):
            raise InputError(f"{override}: {key} holds keys of its own: {', '.join(map(str, before))}")
    return cfg


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
    except (OmegaConfBaseException, TypeError, ValueError, AssertionError) as error:
        raise InputError(" ".join(str(error).split())) from error


def _select(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:  # it points to a value that is not set
        return None


def _check_key(cfg: DictConfig, key: str) -> Any:
    """Return the value of a key, None where it has none yet; an InputError if there is no such key."""
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
            raise unknown_name("key", prefix + part, [prefix + name for name in known])
        node = _select(cfg, ".".join(parts[: depth + 1]))
    return node


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
