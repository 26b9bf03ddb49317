"""The formats of exports, in one table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mvit_det.export.calibration import Batch
from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.export.onnx_format import write_onnx, write_openvino
from mvit_det.export.torch_format import open_aoti, open_program, write_aoti, write_program
from mvit_det.runtime.description import PRECISIONS
from mvit_det.runtime.sessions import Session


@dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes:
        model: name of the file of the model.
        modules: the modules that writing and checking an export need besides torch.
        extra: the extra of this package that installs them.
        write: function that writes a detector to the file ``model`` in a folder; its arguments are those of
            :func:`mvit_det.export.onnx_format.write_onnx`. It may change the detector.
        open: function from the file to the model; None if :class:`mvit_det.runtime.Detector` opens it.
        precisions: the precisions in which it can be written.
    """

    model: str
    modules: tuple[str, ...]
    extra: str
    write: Callable[[ExportableDetector, Path, str, Iterable[Batch]], None]
    open: Callable[[Path], Session] | None = None
    precisions: tuple[str, ...] = ("float32",)


ONNX_MODULES = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {
    "onnx": Format("model.onnx", ONNX_MODULES, "export", write_onnx, precisions=PRECISIONS),
    "openvino": Format(
        "model.xml", (*ONNX_MODULES, "openvino"), "export,openvino", write_openvino, precisions=PRECISIONS
    ),
    "torch": Format("model.pt2", (), "torchvision", write_program, open_program),
    "aoti": Format("model.pt2", (), "torchvision", write_aoti, open_aoti),
}
