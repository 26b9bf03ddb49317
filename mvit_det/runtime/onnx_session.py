"""Models in ONNX format, which ONNX Runtime runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mvit_det.errors import InputError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# TensorFloat-32 would reduce the precision to 10 bits. The default search, EXHAUSTIVE, times all convolution
# algorithms for each new image size.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


class OnnxSession:
    """A session of ONNX Runtime; see :func:`mvit_det.runtime.sessions.open_session`."""

    def __init__(self, path: Path, precision: str, device: str, num_threads: int | None) -> None:
        has_cuda = CUDA in onnxruntime.get_available_providers()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = num_threads or 0  # 0: one for each core
        providers = [(CUDA, CUDA_OPTIONS), CPU] if has_cuda and device != "cpu" else [CPU]
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        if device == "cuda" and CUDA not in self._session.get_providers():
            raise InputError("device 'cuda': needs a GPU and its package: pip install onnxruntime-gpu")
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, images: NDArray[np.float32], image_sizes: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs of the model; see :class:`mvit_det.runtime.sessions.Session`."""
        outputs = self._session.run(self.outputs, {"images": images, "image_sizes": image_sizes})
        return dict(zip(self.outputs, outputs, strict=True))
