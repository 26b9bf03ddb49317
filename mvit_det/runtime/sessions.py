"""Opens the model of an export with the runtime of its format."""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mvit_det.dependencies import install_command, one_line
from mvit_det.errors import DependencyError, InputError
from mvit_det.runtime.description import Description

INPUTS = {"images", "image_sizes"}
OUTPUTS = {"boxes", "scores", "labels", "num_detections"}
# Format -> module and class of its session, the package that it needs, and our extra that installs it.
SESSIONS = {
    "onnx": ("mvit_det.runtime.onnx_session", "OnnxSession", "onnxruntime", "runtime"),
    "openvino": ("mvit_det.runtime.openvino_session", "OpenvinoSession", "openvino", "openvino"),
}


class Session(Protocol):
    """A model that has been opened."""

    def run(self, images: NDArray[np.float32], image_sizes: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs of the model for a batch of scaled images.

        Args:
            images: RGB pixels in 0..255, padded with zeros at the bottom and the right, (N, 3, H, W).
            image_sizes: height and width of each image without its padding, px, (N, 2).

        Returns:
            for K, the largest number of detections, ``boxes`` (N, K, 4) XYXY in px of the scaled image,
            ``scores`` (N, K), highest first, ``labels`` (N, K), index of the class from 0, and
            ``num_detections`` (N,); if the detector has masks, also ``masks`` (N, K, M, M), probabilities in
            the cells of each box.
        """


def open_session(folder: Path, description: Description, device: str, num_threads: int | None) -> Session:
    """Open the model of an export.

    Args:
        folder: the folder of the export.
        description: its description.
        device: "cpu", "cuda", or "auto" for a GPU if the installed package can use one.
        num_threads: number of threads, or None for the package's default.

    Raises:
        InputError: if the model is missing or damaged, needs PyTorch, or cannot run on the device.
        DependencyError: if the package that runs the model is missing or too old.
    """
    path = folder / description.model
    if description.format not in SESSIONS:
        expected = " or ".join(SESSIONS)
        raise InputError(
            f"{path}: format {description.format!r} needs PyTorch; export the detector as {expected}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; export the detector again")
    module, class_name, package, extra = SESSIONS[description.format]
    try:
        session_class = getattr(import_module(module), class_name)
    except ImportError as error:
        cause = one_line(error)
        raise DependencyError(
            f"{path}: needs {package}, which cannot be imported ({cause}): {install_command(extra)}"
        ) from error
    try:
        session = session_class(path, description.precision, device, num_threads)
    except InputError:
        raise
    except Exception as error:  # neither package documents what it raises
        # Their messages start with locations in their source code, which are of no use to the user.
        cause = re.split(r"\) (?=[A-Z])|failed:", str(error).strip().rpartition("\n")[2])[-1]
        if re.search(r"opset(?! import)|IR version", cause):
            update = f"pip install --upgrade {package}"
            raise DependencyError(f"{path}: needs a newer {package} ({cause}): {update}") from error
        raise InputError(f"{path}: is damaged: {package} cannot open it ({cause})") from error
    inputs, outputs = set(session.inputs), set(session.outputs)
    expected_outputs = OUTPUTS | {"masks"} if description.has_masks else OUTPUTS
    if inputs != INPUTS or not outputs >= expected_outputs:
        raise InputError(
            f"{path}: has the inputs {_names(inputs)} and the outputs {_names(outputs)}; "
            f"expected {_names(INPUTS)} and {_names(expected_outputs)}"
        )
    return session


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names))
