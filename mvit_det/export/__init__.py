"""Export of detectors to ONNX, OpenVINO, torch.export and AOTInductor."""

from mvit_det.export.detector_export import export_detector

__all__ = ["export_detector"]
