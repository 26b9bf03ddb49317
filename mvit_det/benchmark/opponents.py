"""The models that our backbone is compared with."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from mvit_det.backbone.mvit import build_mvit, variant_keywords
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.checkout import CheckoutModel
from mvit_det.benchmark.measure import LocalModel, MeasuredModel
from mvit_det.dependencies import explain_detectron2
from mvit_det.errors import DependencyError, InputError, unknown_name

TIMM_SIZE = 224  # height and width of the images, pixels
TIMM_NAMES = {f"mvitv2_{name[0]}": f"mvitv2_{name}" for name in ("tiny", "small", "base", "large")}
OUR_KEYWORDS = ("attention", "recompute")  # of build_mvit


@contextmanager
def open_opponent(
    name: str, variant: str, ours: nn.Module, device: str = "cpu", keep_freed_memory: bool = False
) -> Iterator[MeasuredModel]:
    """Build a model to compare with ``ours``; a model of the same architecture gets the same weights.

    Args:
        name: a key of :data:`PACKAGE_MODELS`, ``"ours:KEYWORD=VALUE,..."`` or
            ``"checkout:PATH,KEYWORD=VALUE,..."``.
        variant: a key of :data:`mvit_det.VARIANTS` that the opponent has.
        ours: that variant, built by this checkout.
        device: ``"cpu"`` or ``"cuda"``.
        keep_freed_memory: whether the process of another checkout calls
            :func:`mvit_det.ops.allocator.keep_freed_memory`.

    Raises:
        InputError: if the name or a keyword is unknown, or if the model of another checkout cannot be built.
        DependencyError: if a package is missing or cannot be imported.
    """
    if name.startswith("checkout:"):
        path, keywords = parse_checkout(name)
        with CheckoutModel(path, variant, keywords, ours, device, keep_freed_memory) as model:
            yield model
        return
    if name.startswith("ours:"):
        local_model = LocalModel(build_mvit(variant, drop_path_rate=0.0, **parse_ours(name)))
    else:
        package = import_package(name)
        local_model = PACKAGE_MODELS[name].build(package, variant)
    if has_our_architecture(name):
        local_model.module.load_state_dict(ours.state_dict(), strict=True)
    local_model.module.to(device)
    yield local_model


def import_package(name: str) -> ModuleType:
    """Import the module that defines a model of another package.

    Raises:
        InputError: if ``name`` is not a key of :data:`PACKAGE_MODELS`.
        DependencyError: if the module cannot be imported; the message says what to install.
    """
    if name not in PACKAGE_MODELS:
        ours = (f"ours:{key}=..." for key in OUR_KEYWORDS)
        raise unknown_name("name in --against", name, (*PACKAGE_MODELS, *ours, "checkout:PATH"))
    module = PACKAGE_MODELS[name].module
    try:
        return import_module(module)
    except Exception as error:  # incompatible packages raise exceptions of any type
        package = module.partition(".")[0]
        cause = f"{package} cannot be imported ({error}): pip install {package}"
        cause = explain_detectron2(error) if package == "detectron2" else cause
        raise DependencyError(f"{name}: {cause}") from error


def variants_of(name: str) -> tuple[str, ...]:
    """Return the variants that an opponent can be compared with."""
    return PACKAGE_MODELS[name].variants if name in PACKAGE_MODELS else tuple(VARIANTS)


def has_our_architecture(name: str) -> bool:
    """Return whether an opponent computes the same function as our backbone, given the same weights."""
    return PACKAGE_MODELS[name].has_our_architecture if name in PACKAGE_MODELS else True


def parse_ours(name: str) -> dict[str, str]:
    """Parse ``"ours:KEYWORD=VALUE,..."``: ``"ours:recompute=cheap"`` gives ``{"recompute": "cheap"}``.

    Raises:
        InputError: if a part is not KEYWORD=VALUE, or if a keyword is not one of :data:`OUR_KEYWORDS`.
    """
    return _parse_keywords(name, name.removeprefix("ours:").split(","))


def parse_checkout(name: str) -> tuple[Path, dict[str, str]]:
    """Parse ``"checkout:PATH,KEYWORD=VALUE,..."`` into the path and the keywords, which may be absent.

    Raises:
        InputError: if a part is not KEYWORD=VALUE, or if a keyword is not one of :data:`OUR_KEYWORDS`.
    """
    path, *parts = name.removeprefix("checkout:").split(",")
    return Path(path).expanduser(), _parse_keywords(name, parts)


def _parse_keywords(name: str, parts: Iterable[str]) -> dict[str, str]:
    keywords = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (equals and value):
            raise InputError(f"--against {name!r}: {part!r} should be KEYWORD=VALUE, such as recompute=cheap")
        if key not in OUR_KEYWORDS:
            raise unknown_name("keyword in --against", key, OUR_KEYWORDS)
        keywords[key] = value
    return keywords


def _build_detectron2_mvit(package: Any, variant: str) -> LocalModel:
    # Detectron2 lacks some keywords of ours; MViTv2 variants leave those at their defaults.
    parameters = signature(package.MViT).parameters
    keywords = {key: value for key, value in variant_keywords(variant).items() if key in parameters}
    return LocalModel(package.MViT(**keywords | {"drop_path_rate": 0.0}))


def _build_swin(package: Any, _: str) -> LocalModel:
    shape = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
    return LocalModel(package.SwinTransformer(**shape, drop_path_rate=0.0))


def _build_resnet(package: Any, _: str) -> LocalModel:
    # The norms are frozen, as in detectors.
    model = package.resnet50(norm_layer=import_module("torchvision.ops").FrozenBatchNorm2d)
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)
    stages = nn.ModuleList([stem, model.layer2, model.layer3, model.layer4])
    return LocalModel(stages, partial(_run_stages, stages))


def _run_stages(stages: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps


def _build_timm_mvitv2(package: Any, variant: str) -> LocalModel:
    model = package.create_model(TIMM_NAMES[variant], num_classes=0, drop_path_rate=0.0)
    return LocalModel(model, model.forward_features)


@dataclass(frozen=True)
class PackageModel:
    """A model of another package.

    Attributes:
        module: full name of the module that defines the model.
        build: function of that module and the name of our variant.
        variants: our variants that the model can be compared with.
        has_our_architecture: whether the model has the same parameters as our variant.
    """

    module: str
    build: Callable[[Any, str], LocalModel]
    variants: tuple[str, ...] = tuple(VARIANTS)
    has_our_architecture: bool = False


PACKAGE_MODELS = {
    "detectron2-mvit": PackageModel(
        "detectron2.modeling",
        _build_detectron2_mvit,
        variants=tuple(name for name in VARIANTS if name.startswith("mvitv2")),
        has_our_architecture=True,
    ),
    "swin-t": PackageModel("detectron2.modeling.backbone.swin", _build_swin),
    "resnet-50": PackageModel("torchvision.models", _build_resnet),
    "timm-mvitv2": PackageModel("timm", _build_timm_mvitv2, variants=tuple(TIMM_NAMES)),
}
