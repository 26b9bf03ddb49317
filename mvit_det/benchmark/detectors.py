"""The detectors that the benchmark compares: Mask R-CNNs with random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor, nn

from mvit_det.benchmark.samples import Sample
from mvit_det.dependencies import explain_detectron2
from mvit_det.errors import DependencyError, unknown_name

Weights = Mapping[str, Tensor]
Detections = dict[str, Tensor]  # boxes (N, 4), scores (N,), classes (N,) from 0, masks (N, H, W) bool


class Detector(Protocol):
    """A detector with its inputs.

    Attributes:
        module: the model.
        parts: the functions of each part; see :func:`mvit_det.benchmark.breakdown.clocked_parts`.
    """

    module: nn.Module
    parts: Mapping[str, Sequence[str]]

    def detect(self) -> Any:
        """Run the model, in evaluation mode, and return what it returns."""

    def loss(self) -> Tensor:
        """Run the model, in training mode, and return the sum of its losses."""

    def detections(self) -> list[Detections]:
        """Run the model, in evaluation mode, and return the detections in each image."""


@dataclass(frozen=True)
class Entry:
    """How to build a detector.

    Attributes:
        module: Python module with the function that builds it.
        function: name of that function.
        has_our_architecture: whether it has the same parameters as our detector.
    """

    module: str
    function: str
    has_our_architecture: bool


DETECTORS = {
    "detectron2-mvit": Entry("detectron2_detectors", "build_detectron2_mvit", True),
    "ours-detectron2": Entry("detectron2_detectors", "build_ours", True),
    "ours-torchvision": Entry("torchvision_detectors", "build_ours", True),
    "torchvision-r50": Entry("torchvision_detectors", "build_torchvision_r50", False),
}


def build_detector(
    name: str, variant: str, weights: Weights, samples: Sequence[Sample], device: str
) -> Detector:
    """Build a detector.

    Args:
        name: a key of :data:`DETECTORS`.
        variant: a key of :data:`mvit_det.VARIANTS`; other architectures ignore it.
        weights: what :func:`random_weights` returns; other architectures ignore it.
        samples: the images and objects that it will run on, all of the same size.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        InputError: if the name is unknown.
        DependencyError: if a package is missing or cannot be imported.
    """
    return getattr(import_builders(name), DETECTORS[name].function)(variant, weights, samples, device)


def random_weights(variant: str) -> Weights:
    """Return weights for all detectors that have our architecture, with torchvision's names."""
    return import_builders("ours-torchvision").random_weights(variant)


def import_builders(name: str) -> Any:
    """Import the Python module that builds a detector.

    Raises:
        InputError: if the name is unknown.
        DependencyError: if a package is missing or cannot be imported.
    """
    if name not in DETECTORS:
        raise unknown_name("detector", name, DETECTORS)
    module = DETECTORS[name].module
    try:
        return import_module(f"{__package__}.{module}")
    except DependencyError as error:
        raise DependencyError(f"{name}: {error}") from error
    except Exception as error:  # incompatible packages raise exceptions of any type
        cause = f"cannot be imported ({error})"
        cause = explain_detectron2(error) if module == "detectron2_detectors" else cause
        raise DependencyError(f"{name}: {cause}") from error
