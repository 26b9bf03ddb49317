import math

import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from mvit_det.export.onnx_operators import ONNX_OPERATORS, OPSET
from mvit_det.export.region_pool import pool_boxes
from mvit_det.export.suppression import suppress


class Suppress(nn.Module):
    def forward(self, boxes, scores):
        return suppress(boxes, scores, 0.5, 2)


class Pool(nn.Module):
    def forward(self, boxes, image_index, *maps):
        return pool_boxes(list(maps), boxes, image_index, 7)


def run_onnxruntime(path, inputs):
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def run_openvino(path, inputs):
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model(list(inputs))[0]


@pytest.fixture(params=[run_onnxruntime, run_openvino])
def run(request, tmp_path):
    """Return the result of a module after its translation to ONNX."""

    def export_and_run(module, *inputs):
        path = tmp_path / "model.onnx"
        program = torch.export.export(module, inputs)
        torch.onnx.export(
            program,
            f=path,
            dynamo=True,
            custom_translation_table=ONNX_OPERATORS,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        return torch.from_numpy(request.param(path, [x.numpy() for x in inputs]))

    return export_and_run


def test_boxes_are_removed_within_their_group(run):
    # IoU of the second box with the first: 0.8, and with the third: 0.5, which is not above the threshold.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [20, 0, 30, 10]])
    none = -math.inf
    scores = torch.tensor([[0.9, 0.8, -0.7, -30], [none, 0.8, 0.7, 0.9], [none] * 4])
    # At most two boxes of a group are kept.
    expected = torch.tensor([[0.9, none, -0.7, none], [none, 0.8, none, 0.9], [none] * 4])
    assert torch.equal(run(Suppress(), boxes.repeat(3, 1, 1), scores), expected)


def test_regions_are_pooled_from_their_own_image_and_level(run):
    maps = [torch.rand(2, 3, 64 >> level, 96 >> level) for level in range(4)]
    boxes = torch.tensor(
        [[5.0, 7, 20, 50], [0, 0, 0, 0], [9, 9, 380, 250], [30, 0, 200, 180], [1, 2, 60, 70]]
    )
    image_index = torch.tensor([1, 0, 1, 0, 0])  # no region on the level of 16 px
    expected = Pool()(boxes, image_index, *maps)
    torch.testing.assert_close(run(Pool(), boxes, image_index, *maps), expected)
