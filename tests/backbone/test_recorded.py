"""Ours against values that Detectron2's MViT gave for weights anyone can make again.

Recorded with Detectron2 at commit 02b5c4e2 in float64; tests/detectron2 compares with it live.
"""

import pytest
import torch

from mvit_det import build_mvit

# output -> its shape, and the mean, the standard deviation and two of its values
RECORDED = {
    "scale2": ((1, 32, 18, 34), [0.003393, 1.049927, 2.77797, -0.779122]),
    "scale3": ((1, 64, 9, 17), [-0.003192, 1.023587, -0.56715, -0.800324]),
    "scale4": ((1, 128, 5, 9), [0.000996, 1.095884, 0.680015, 0.284582]),
    "scale5": ((1, 256, 3, 5), [0.002035, 1.046232, 0.758287, -1.50398]),
}


def test_outputs_are_those_recorded():
    model = build_mvit("mvitv2_nano").double().eval()
    for index, parameter in enumerate(model.parameters()):
        steps = torch.arange(parameter.numel(), dtype=torch.float64)
        values = 0.3 * torch.sin(steps * (0.7 + 0.01 * index))
        if parameter.dim() == 1 and index % 2 == 0:
            values += 1
        parameter.data = values.view_as(parameter)
    images = torch.sin(torch.arange(3 * 70 * 133, dtype=torch.float64) * 0.013).view(1, 3, 70, 133)
    with torch.no_grad():
        outputs = model(images)
    for name, (shape, expected) in RECORDED.items():
        output = outputs[name]
        assert output.shape == shape
        found = [output.mean(), output.std(), output[0, 1, -1, -1], output[0, -1, 0, 1]]
        assert [value.item() for value in found] == pytest.approx(expected, abs=1e-6), name
