"""The models that ours is compared with."""

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor, nn

from mvit_det.backbone.mvit import build_mvit, variant_keywords
from mvit_det.backbone.variants import VARIANTS
from mvit_det.dependencies import explain_detectron2
from mvit_det.errors import DependencyError, InputError, unknown_name

MODULES = {  # of each model but ours
    "detectron2-mvit": "detectron2.modeling",
    "swin-t": "detectron2.modeling.backbone.swin",
    "resnet-50": "torchvision.models",
    "timm-mvitv2": "timm",
}
TIMM_SIDE = 224  # px
TIMM_NAMES = {f"mvitv2_{name[0]}": f"mvitv2_{name}" for name in ("tiny", "small", "base", "large")}
VARIANTS_OF = {  # of those that have not all
    "detectron2-mvit": tuple(name for name in VARIANTS if name.startswith("mvitv2")),
    "timm-mvitv2": tuple(TIMM_NAMES),
}
OUR_KEYWORDS = ("attention", "recompute")


class Side(NamedTuple):
    """A model, and what runs it: images (N, 3, H, W) -> its maps, as a dict, a sequence or one tensor."""

    module: nn.Module
    call: Callable[[Tensor], Any]


def build_other(who: str, variant: str, ours: nn.Module) -> Side:
    """Return the model that ``ours`` is compared with; the same architecture gets the same weights.

    Raises:
        InputError: if ``who`` or one of its keywords is unknown, or if it has no such variant.
        DependencyError: if a package is missing or cannot be used.
    """
    if who.startswith("ours:"):
        model: Any = build_mvit(variant, drop_path_rate=0.0, **our_keywords(who))
        model.load_state_dict(ours.state_dict(), strict=True)
        return Side(model, model)
    package = load(who)
    if variant not in VARIANTS_OF.get(who, VARIANTS):
        raise InputError(f"variant {variant!r}: {who} has none such, expected {', '.join(VARIANTS_OF[who])}")
    if who == "resnet-50":  # with norms that stay as they are, as in detectors
        model = package.resnet50(norm_layer=import_module("torchvision.ops").FrozenBatchNorm2d)
        first = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)
        stages = nn.ModuleList([first, model.layer2, model.layer3, model.layer4])
        return Side(stages, partial(_run_stages, stages))
    if who == "timm-mvitv2":
        model = package.create_model(TIMM_NAMES[variant], num_classes=0, drop_path_rate=0.0)
        return Side(model, model.forward_features)
    if who == "swin-t":
        shape = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
        model = package.SwinTransformer(**shape, drop_path_rate=0.0)
    else:
        known = signature(package.MViT).parameters  # what it has no keyword for, MViTv2 never changes
        keywords = {key: value for key, value in variant_keywords(variant).items() if key in known}
        keywords["drop_path_rate"] = 0.0
        model = package.MViT(**keywords)
        model.load_state_dict(ours.state_dict(), strict=True)
    return Side(model, model)


def load(who: str) -> ModuleType:
    """Import the module that holds a model.

    Raises:
        InputError: if no model has that name.
        DependencyError: if it cannot be imported; the message says what mends it.
    """
    if who not in MODULES:
        raise unknown_name("name in --against", who, (*MODULES, *(f"ours:{key}=..." for key in OUR_KEYWORDS)))
    try:
        return import_module(MODULES[who])
    except Exception as error:  # packages that do not fit each other raise all kinds
        package = MODULES[who].partition(".")[0]
        cause = f"{package} cannot be imported ({error}): pip install {package}"
        cause = explain_detectron2(error) if package == "detectron2" else cause
        raise DependencyError(f"{who}: {cause}") from error


def our_keywords(who: str) -> dict[str, str]:
    """Return {"recompute": "cheap"} for ``"ours:recompute=cheap"``; commas part several.

    Raises:
        InputError: if a part is no KEYWORD=VALUE, or the keyword is none of :data:`OUR_KEYWORDS`.
    """
    keywords = {}
    for part in who.removeprefix("ours:").split(","):
        key, equals, value = part.partition("=")
        if not (equals and value):
            raise InputError(f"--against {who!r}: expected ours:KEYWORD=VALUE, such as ours:recompute=cheap")
        if key not in OUR_KEYWORDS:
            raise unknown_name("keyword in --against", key, OUR_KEYWORDS)
        keywords[key] = value
    return keywords


def _run_stages(stages: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps
