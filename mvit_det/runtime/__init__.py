"""Detection with an exported detector, without PyTorch: NumPy, Pillow, and ONNX Runtime or OpenVINO."""

from mvit_det.runtime.detections import Detections
from mvit_det.runtime.detector import Detector

__all__ = ["Detections", "Detector"]
