"""Models in OpenVINO's format, which run on CPUs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from mvit_det.errors import InputError


class OpenvinoSession:
    """A compiled model of OpenVINO; see :func:`mvit_det.runtime.sessions.open_session`."""

    def __init__(self, path: Path, precision: str, device: str, num_threads: int | None) -> None:
        if device == "cuda":
            raise InputError("device 'cuda': OpenVINO models run on CPUs; export the detector as onnx")
        options: dict[str, Any] = {}
        if precision != "float16":  # otherwise, OpenVINO uses bfloat16 if the processor has it
            options["INFERENCE_PRECISION_HINT"] = "f32"
        if num_threads is not None:
            options["INFERENCE_NUM_THREADS"] = num_threads
        self._model = openvino.Core().compile_model(path, "CPU", options)
        self.inputs = [port.any_name for port in self._model.inputs]
        self.outputs = [port.any_name for port in self._model.outputs]

    def run(self, images: NDArray[np.float32], image_sizes: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs of the model; see :class:`mvit_det.runtime.sessions.Session`."""
        request = self._model.create_infer_request()  # of its own, as threads would overwrite a shared one
        outputs = request.infer({"images": images, "image_sizes": image_sizes})
        return {name: outputs[name] for name in self.outputs}
