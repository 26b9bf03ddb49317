"""Load lazy configs, apply ``key=value`` overrides, and instantiate them, with one-line errors."""

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

from mvit_det.detectron2.config_files import YAML_SUFFIXES, check_yaml, find_config, packaged_config
from mvit_det.errors import InputError, unknown_name


def get_config(name: str) -> DictConfig:
    """Return a packaged lazy config.

    Args:
        name: path below ``configs/`` without the suffix, such as ``"cascade_mask_rcnn_mvitv2_t_3x"`` or
            ``"vitdet/mask_rcnn_mvitv2_b_in21k_100ep"``.

    Raises:
        InputError: if no packaged config has this name. The message suggests the nearest.
    """
    return _load(packaged_config(name))


def load_config(source: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Load a lazy config and apply overrides to it.

    Args:
        source: path of a file, or else the name of a packaged config; see :func:`get_config`.
        overrides: ``a.b=value``. The key ``a.b`` must exist in the config, or ``b`` must be a keyword of the
            class or function that ``a`` calls.

    Raises:
        InputError: if the config does not exist or cannot be executed, or if an override has an unknown key
            or a value of the wrong type.
    """
    cfg = _load(find_config(source))
    for override in overrides:
        _apply_override(cfg, override)
    return cfg


def build(node: Any) -> Any:
    """Instantiate a part of a config.

    Raises:
        InputError: if a value is missing, or if a class or function rejects its arguments.
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


def _load(path: Path) -> DictConfig:
    if path.suffix.lower() in YAML_SUFFIXES:
        check_yaml(path)
    try:
        return LazyConfig.load(str(path))
    except Exception as error:  # a config is the user's code and may raise anything
        cause = error.__cause__ or error  # Detectron2's own exception does not name the line
        raise InputError(f"{path}: {type(cause).__name__}: {cause}") from error


def _apply_override(cfg: DictConfig, override: str) -> None:
    key, equals, _ = override.partition("=")
    if not equals:
        raise InputError(f"{override}: expected key=value; flags must precede the first override")
    before = _value_of(cfg, key)
    try:
        LazyConfig.apply_overrides(cfg, [override])
    except Exception as error:  # a parser error of hydra, which Detectron2 imports only if it is installed
        raise InputError(f"{override}: {' '.join(str(error).split())}") from None
    after = _select(cfg, key)
    if isinstance(before, bool) and not isinstance(after, bool):
        raise InputError(f"{key} is {after!r}: expected true or false")
    is_group = isinstance(before, DictConfig) and "_target_" not in before
    if is_group and not isinstance(after, DictConfig):
        raise InputError(f"{override}: {key} is a group of keys: {', '.join(map(str, before))}")


def _value_of(cfg: DictConfig, key: str) -> Any:
    """Return the value of a key, or None for a keyword that the config does not set.

    Raises:
        InputError: if the key is neither in the config nor a keyword of a class or function that it calls.
    """
    node: Any = cfg
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if isinstance(node, ListConfig):
            known = set(map(str, range(len(node))))
        elif isinstance(node, DictConfig):
            known = {*map(str, node), *_keywords(node)} - {"_target_"}
        else:
            raise InputError(f"{key}: {'.'.join(parts[:depth])} is the value {node!r} and has no keys")
        if part not in known:
            prefix = "".join(f"{parent}." for parent in parts[:depth])
            raise unknown_name("key", prefix + part, [prefix + name for name in known])
        node = _select(cfg, ".".join(parts[: depth + 1]))
    return node


def _select(cfg: DictConfig, key: str) -> Any:
    """Return the value of a key, or None if it refers to a value that is not set."""
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def _keywords(node: Mapping[str, Any]) -> set[str]:
    """Return the keywords of the class or function that a node calls.

    If a class takes ``**kwargs``, the keywords of its base class are included.
    """
    target: Any = node.get("_target_")
    keywords: set[str] = set()
    for function in target.__mro__ if isinstance(target, type) else [target]:
        if not callable(function):
            break
        parameters = signature(function).parameters.values()
        keywords |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return keywords
