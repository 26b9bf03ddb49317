"""Exports that PyTorch runs: programs of ``torch.export``, and packages that AOTInductor compiled."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.export.program import export_program
from mvit_det.export.torch_operators import use_attention_operator, use_convolution_operator
from mvit_det.files import write_file


class TorchSession:
    """A :class:`mvit_det.runtime.sessions.Session` of a function on tensors."""

    def __init__(self, function: Callable[[Tensor, Tensor], dict[str, Tensor]]) -> None:
        self.function = function

    def run(self, images: NDArray[np.float32], image_sizes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the outputs of the model for a batch of scaled images."""
        with torch.inference_mode():
            outputs = self.function(torch.from_numpy(images), torch.from_numpy(image_sizes))
        return {name: values.numpy() for name, values in outputs.items()}


def _export(detector: ExportableDetector) -> ExportedProgram:
    use_attention_operator(detector)
    program = export_program(detector)
    use_convolution_operator(program)
    return program


def write_program(detector: ExportableDetector, path: Path, *_: object) -> None:
    """Write a detector as a program for :func:`torch.export.load`.

    The program calls operators that importing this module registers.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    file = BytesIO()  # on a full disk, PyTorch's own writer ends the process
    torch.export.save(_export(detector), file)
    write_file(path, file.getvalue())


def open_program(path: Path) -> TorchSession:
    """Open a program that :func:`write_program` wrote."""
    return TorchSession(torch.export.load(path).module())


def write_aoti(detector: ExportableDetector, path: Path, *_: object) -> None:
    """Compile a detector for the CPU of this machine with AOTInductor. Needs a C++ compiler."""
    torch._inductor.aoti_compile_and_package(_export(detector), package_path=str(path))


def open_aoti(path: Path) -> TorchSession:
    """Open a package that :func:`write_aoti` wrote."""
    return TorchSession(torch._inductor.aoti_load_package(str(path)))
