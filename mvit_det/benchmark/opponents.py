"""The models that our backbone is compared with."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from mvit_det.backbone.mvit import build_mvit, variant_keywords
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.checkout import CheckoutSide
from mvit_det.benchmark.measure import LocalSide, Side
from mvit_det.dependencies import explain_detectron2
from mvit_det.errors import DependencyError, InputError, unknown_name

MODULES = {  # that define the models of other packages
    "detectron2-mvit": "detectron2.modeling",
    "swin-t": "detectron2.modeling.backbone.swin",
    "resnet-50": "torchvision.models",
    "timm-mvitv2": "timm",
}
TIMM_SIDE = 224  # pixels
TIMM_NAMES = {f"mvitv2_{name[0]}": f"mvitv2_{name}" for name in ("tiny", "small", "base", "large")}
VARIANTS_OF = {  # only for packages that lack some variants
    "detectron2-mvit": tuple(name for name in VARIANTS if name.startswith("mvitv2")),
    "timm-mvitv2": tuple(TIMM_NAMES),
}
OUR_KEYWORDS = ("attention", "recompute")


@contextmanager
def open_opponent(
    name: str, variant: str, ours: nn.Module, device: str = "cpu", keep_freed_memory: bool = False
) -> Iterator[Side]:
    """Build the model that ``ours`` is compared with; the same architecture gets the same weights.

    Args:
        name: a key of :data:`MODULES`, ``"ours:KEYWORD=VALUE,..."`` or ``"checkout:PATH,KEYWORD=VALUE,..."``.
        variant: one of ``VARIANTS``.
        ours: that variant as this checkout builds it.
        device: ``"cpu"`` or ``"cuda"``.
        keep_freed_memory: whether the process of another checkout keeps freed memory; see
            :mod:`mvit_det.ops.allocator`.

    Raises:
        InputError: if the name or a keyword is unknown, or if the opponent does not have the variant.
        DependencyError: if a package is missing or cannot be imported.
    """
    if name.startswith("checkout:"):
        root, keywords = parse_checkout(name)
        with CheckoutSide(root, variant, keywords, ours, device, keep_freed_memory) as side:
            yield side
        return
    local_side = _build(name, variant, ours)
    local_side.module.to(device)
    yield local_side


def _build(name: str, variant: str, ours: nn.Module) -> LocalSide:
    if name.startswith("ours:"):
        model: Any = build_mvit(variant, drop_path_rate=0.0, **our_keywords(name))
        model.load_state_dict(ours.state_dict(), strict=True)
        return LocalSide(model)
    package = import_package(name)
    if variant not in VARIANTS_OF.get(name, VARIANTS):
        known = ", ".join(VARIANTS_OF[name])
        raise InputError(f"variant {variant!r}: not in {name}, expected one of {known}")
    if name == "resnet-50":  # with frozen norms, as in detectors
        model = package.resnet50(norm_layer=import_module("torchvision.ops").FrozenBatchNorm2d)
        stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)
        stages = nn.ModuleList([stem, model.layer2, model.layer3, model.layer4])
        return LocalSide(stages, partial(_run_stages, stages))
    if name == "timm-mvitv2":
        model = package.create_model(TIMM_NAMES[variant], num_classes=0, drop_path_rate=0.0)
        return LocalSide(model, model.forward_features)
    if name == "swin-t":
        shape = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
        return LocalSide(package.SwinTransformer(**shape, drop_path_rate=0.0))
    # MViTv2 leaves the keywords that Detectron2 lacks at their defaults.
    parameters = signature(package.MViT).parameters
    keywords = {key: value for key, value in variant_keywords(variant).items() if key in parameters}
    model = package.MViT(**keywords | {"drop_path_rate": 0.0})
    model.load_state_dict(ours.state_dict(), strict=True)
    return LocalSide(model)


def import_package(name: str) -> ModuleType:
    """Import the module that defines a model.

    Raises:
        InputError: if no model has that name.
        DependencyError: if the module cannot be imported; the message says what to install.
    """
    if name not in MODULES:
        ours = (f"ours:{key}=..." for key in OUR_KEYWORDS)
        raise unknown_name("name in --against", name, (*MODULES, *ours, "checkout:PATH"))
    try:
        return import_module(MODULES[name])
    except Exception as error:  # incompatible packages raise exceptions of any type
        package = MODULES[name].partition(".")[0]
        cause = f"{package} cannot be imported ({error}): pip install {package}"
        cause = explain_detectron2(error) if package == "detectron2" else cause
        raise DependencyError(f"{name}: {cause}") from error


def our_keywords(name: str) -> dict[str, str]:
    """Parse ``"ours:KEYWORD=VALUE,..."``: ``"ours:recompute=cheap"`` gives ``{"recompute": "cheap"}``.

    Raises:
        InputError: if a part is not KEYWORD=VALUE, or if a keyword is not one of :data:`OUR_KEYWORDS`.
    """
    return _parse_keywords(name, name.removeprefix("ours:").split(","))


def parse_checkout(name: str) -> tuple[Path, Mapping[str, str]]:
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


def _run_stages(stages: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps
