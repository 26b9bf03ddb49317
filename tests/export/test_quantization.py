import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mvit_det.export.quantization import halve_weights, layers_to_quantize, quantize


def write_model(path, weight, name="fc.weight", op="MatMul", bias=()):
    """Write a model of one layer, from ``images`` to ``y``."""
    tensors = [
        numpy_helper.from_array(np.array(values, np.float32), key)
        for key, values in ((name, weight), ("fc.bias", bias))
        if len(values)
    ]
    node = helper.make_node(op, ["images", *(tensor.name for tensor in tensors)], ["y"], "layer")
    shape = ["batch", *["side"] * (np.ndim(weight) - 2), np.shape(weight)[-2]]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "graph", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def run(path, *rows):
    return onnxruntime.InferenceSession(path).run(None, {"images": np.array(rows, np.float32)})[0]


def data_types(path):
    """Return name -> type of the weights in a file."""
    return {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}


def test_weights_in_float16(tmp_path):
    # 2049 lies between the float16 numbers 2048 and 2050, and is rounded to the one with an even mantissa.
    write_model(tmp_path / "a.onnx", [[1], [2049]], op="Gemm", bias=[0.1])
    halve_weights(tmp_path / "a.onnx", tmp_path / "b.onnx", False)
    assert [*data_types(tmp_path / "b.onnx").values()] == [TensorProto.FLOAT16, TensorProto.FLOAT]
    assert run(tmp_path / "b.onnx", [1, 1]) == np.float32(2049.1)
    assert run(tmp_path / "b.onnx", [1e6, 0]) == np.float32(1e6 + 0.1)  # above the numbers of float16


# Two output channels, with scales of 1 and 0.01.
WEIGHT = [[64, 0.64], [-32, 0.32]]


def test_weights_and_inputs_in_int8(tmp_path):
    write_model(tmp_path / "a.onnx", WEIGHT)
    batches = [{"images": np.array([[0, 100]], np.float32)}, {"images": np.array([[255, 20]], np.float32)}]
    quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", batches, False)
    assert data_types(tmp_path / "b.onnx")["fc.weight_quantized"] == TensorProto.INT8
    result = run(tmp_path / "b.onnx", [3.4, 5], [300, 0])  # rounded to 3; outside of the range, 0 to 255
    np.testing.assert_allclose(result, [[3 * 64 - 5 * 32, 3 * 0.64 + 5 * 0.32], [255 * 64, 255 * 0.64]], 1e-6)


@pytest.mark.parametrize("name", ["rpn.head.cls_logits.weight", "roi_heads.box_predictor.bbox_pred.weight"])
def test_layers_that_stay_in_float32(tmp_path, name):
    write_model(tmp_path / "a.onnx", WEIGHT, name)
    model = onnx.load(tmp_path / "a.onnx")
    assert layers_to_quantize(model) == []
    model.graph.node[0].op_type = "Gather"
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "fc.weight"
    assert layers_to_quantize(model) == []


def test_positions_stay_in_float32(tmp_path):
    write_model(tmp_path / "a.onnx", [WEIGHT])
    assert layers_to_quantize(onnx.load(tmp_path / "a.onnx")) == []


@pytest.mark.parametrize("large", [False, True])
def test_large_weights(tmp_path, large):
    (tmp_path / "out").mkdir()
    write_model(tmp_path / "a.onnx", np.eye(64))
    if large:
        model = onnx.load(tmp_path / "a.onnx")
        onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.onnx.data")
    batch = {"images": np.ones((1, 64), np.float32)}
    halve_weights(tmp_path / "a.onnx", tmp_path / "out" / "half.onnx", large)
    quantize(tmp_path / "a.onnx", tmp_path / "out" / "int8.onnx", [batch], large)
    names = {"half.onnx", "int8.onnx"} | ({"half.onnx.data", "int8.onnx.data"} if large else set())
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in ("half.onnx", "int8.onnx"):
        np.testing.assert_allclose(run(tmp_path / "out" / name, np.ones(64)), np.ones((1, 64)), 1e-2)
