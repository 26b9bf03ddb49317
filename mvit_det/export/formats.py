"""The formats of exports, in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchvision.models.detection import FasterRCNN

from mvit_det.runtime.description import Description
from mvit_det.runtime.sessions import Session


@dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes:
        modules: the modules that writing and checking an export need besides torch.
        extra: the extra of this package that installs them.
        write: function from a detector in evaluation mode, the new folder, the lowest score and the largest
            number of detections. It writes the model into the folder, and returns its file name as ``model``,
            and the ``versions`` of the packages that wrote it.
        open: function from the folder and its description to the model; None if
            :class:`mvit_det.runtime.Detector` opens it.
        precisions: the precisions in which it can be written.
    """

    modules: tuple[str, ...]
    extra: str
    write: Callable[[FasterRCNN, Path, float, int], dict[str, Any]]
    open: Callable[[Path, Description], Session] | None = None
    precisions: tuple[str, ...] = ("float32",)


def _not_written(detector: FasterRCNN, folder: Path, min_score: float, max_detections: int) -> dict[str, Any]:
    raise NotImplementedError


FORMATS = {
    "onnx": Format(("onnx", "onnxscript", "onnxruntime"), "export", _not_written),
    "openvino": Format(("openvino",), "openvino", _not_written),
    "torch": Format((), "torchvision", _not_written),
    "aoti": Format((), "torchvision", _not_written),
}
