"""Lower precisions of ONNX models: float16 weights, and int8 weights and activations."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from mvit_det.export.calibration import Batch

QUANTIZED_TYPES = ("Conv", "Gemm", "MatMul")
# Parts of the names of weights that stay in float32: of the layer that takes pixels, of the depthwise
# convolutions that pool queries, keys and values, and of the layers that predict scores, boxes and masks.
FLOAT_WEIGHTS = ("patch_embed", "attn.pool_", "cls_logits", "bbox_pred", "cls_score", "mask_fcn_logits")


def halve_weights(source: Path, target: Path, is_large: bool) -> None:
    """Store the weights of an ONNX model in float16. The model converts them, and computes in float32.

    Biases and the parameters of norms, which are small, remain in float32.

    Args:
        source: a model in float32.
        target: the file to write.
        is_large: whether the weights are in a second file, as they then are in the new model, too.
    """
    model = onnx.load(source)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and len(weight.dims) > 1:
            name, half = weight.name, f"{weight.name}_float16"
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target, save_as_external_data=is_large, location=f"{target.name}.data")


def quantize(source: Path, target: Path, calibration: Iterable[Batch], is_large: bool) -> None:
    """Quantize the layers of an ONNX model: weights to int8, of which 7 bits are used, and inputs to uint8.

    With 8 bits, the sum of two products would overflow 16 bits on processors without instructions for int8
    (VNNI).

    The range of an input is that of its values in the calibration. Each output channel of a weight has a
    scale of its own. Everything else, such as the products of activations in attention, remains in float32.

    Args:
        source: a model in float32.
        target: the file to write.
        calibration: batches of images.
        is_large: whether the weights are in a second file, as they then are in the new model, too.
    """
    # Without this, quantize_static prints a warning. The optimizations would rename the layers.
    quant_pre_process(
        source,
        source,
        skip_optimization=True,
        skip_symbolic_shape=True,
        save_as_external_data=is_large,
        all_tensors_to_one_file=True,
    )
    quantize_static(
        source,
        target,
        _Reader(calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTIZED_TYPES,
        nodes_to_quantize=layers_to_quantize(onnx.load(source, load_external_data=False)),
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        use_external_data_format=is_large,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )


class _Reader(CalibrationDataReader):
    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Batch | None:
        return next(self._batches, None)


def layers_to_quantize(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that are quantized."""
    num_dims = {weight.name: len(weight.dims) for weight in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in QUANTIZED_TYPES
        # The tables of relative positions have three dimensions.
        and num_dims.get(node.input[1]) == (4 if node.op_type == "Conv" else 2)
        and not any(part in node.input[1] for part in FLOAT_WEIGHTS)
    ]
