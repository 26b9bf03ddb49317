"""Exports to ONNX, and from there to OpenVINO."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mvit_det.export.calibration import Batch
from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.export.program import export_program

MAX_FILE = 1_500_000_000  # bytes of weights above which they get a second file; an ONNX file has at most 2 GB


def write_onnx(
    detector: ExportableDetector, path: Path, precision: str, calibration: Iterable[Batch]
) -> None:
    """Write a detector as an ONNX file of standard operators only.

    Weights of more than :data:`MAX_FILE` bytes in float32 are written to a second file, ``model.onnx.data``.

    Args:
        detector: the detector.
        path: the file to write.
        precision: "float32"; "float16" for weights in float16; or "int8" for weights and activations in int8.
        calibration: for int8, batches of images on which the ranges of the activations are measured.
    """
    is_large = sum(weight.nbytes for weight in detector.state_dict().values()) > MAX_FILE
    if precision == "float32":
        _write_float32(detector, path, is_large)
        return
    from mvit_det.export.quantization import halve_weights, quantize  # needs onnx and onnxruntime

    with TemporaryDirectory(dir=path.parent) as folder:
        source = Path(folder, path.name)
        _write_float32(detector, source, is_large)
        if precision == "float16":
            halve_weights(source, path, is_large)
        else:
            quantize(source, path, calibration, is_large)


def write_openvino(
    detector: ExportableDetector, path: Path, precision: str, calibration: Iterable[Batch]
) -> None:
    """Write a detector for OpenVINO: the graph to an XML file, and the weights beside it to ``model.bin``.

    The arguments are those of :func:`write_onnx`.
    """
    import openvino

    with TemporaryDirectory(dir=path.parent) as folder:
        onnx_path = Path(folder, "model.onnx")
        write_onnx(detector, onnx_path, "int8" if precision == "int8" else "float32", calibration)
        openvino.save_model(openvino.convert_model(onnx_path), path, compress_to_fp16=precision == "float16")


def _write_float32(detector: ExportableDetector, path: Path, is_large: bool) -> None:
    from mvit_det.export.onnx_operators import ONNX_OPERATORS, OPSET  # needs onnxscript

    detector.use_attention("matmul")
    onnx_program = torch.onnx.export(
        export_program(detector),
        dynamo=True,
        output_names=list(detector.output_names),
        custom_translation_table=ONNX_OPERATORS,
        opset_version=OPSET,
        verbose=False,
    )
    assert onnx_program is not None, "torch.onnx.export returned no program"
    for node in onnx_program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with the paths of this machine
    onnx_program.save(path, external_data=is_large)
