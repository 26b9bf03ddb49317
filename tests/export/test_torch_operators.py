import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.dynamic_spec import ParamsSpec, ShapeVar, TensorSpec

from mvit_det.export.torch_operators import attend, use_convolution_operator
from mvit_det.ops.attention import attention
from mvit_det.ops.relative_bias import RelPos

SIDES = ShapeVar("height", min=16, max=512), ShapeVar("width", min=16, max=512)
IMAGES = ParamsSpec({"images": TensorSpec([ShapeVar("n", min=1), 3, *SIDES])})


class Convolutions(nn.Module):
    """Convolutions of every kind in a detector: patches, depthwise, 3x3 with and without our kernel, 1x1."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 7, 4, 3)
        self.depthwise = nn.Conv2d(32, 32, 3, 2, 1, groups=32, bias=False)
        self.fast = nn.Conv2d(32, 64, 3, padding=1)
        self.slow = nn.Conv2d(64, 5, 3, padding=1)
        self.lateral = nn.Conv2d(5, 7, 1)

    def forward(self, images):
        fast = self.fast(self.depthwise(self.patches(images).relu()))
        return fast, self.lateral(self.slow(fast))


def convolutions():
    torch.manual_seed(0)
    model = Convolutions().eval()
    with torch.no_grad():
        program = torch.export.export(model, (torch.zeros(2, 3, 32, 48),), dynamic_shapes=IMAGES)
    use_convolution_operator(program)
    return model, program


def assert_same(model, function):
    for shape in ((1, 3, 17, 64), (2, 3, 32, 48), (3, 3, 100, 37)):
        images = torch.randn(shape)
        with torch.inference_mode():
            torch.testing.assert_close(function(images), model(images), rtol=1e-4, atol=1e-5)


def test_all_convolutions_become_our_operator():
    model, program = convolutions()
    targets = [node.target for node in program.graph.nodes]
    assert targets.count(torch.ops.mvit_det.convolution.default) == 5
    assert torch.ops.aten.conv2d.default not in targets
    assert_same(model, program.module())


@pytest.mark.slow
def test_compiled_convolutions_of_dynamic_size_are_right(tmp_path):
    # AOTInductor gives wrong results for PyTorch's own convolutions.
    model, program = convolutions()
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "model.pt2"))
    assert_same(model, torch._inductor.aoti_load_package(path))


@pytest.mark.parametrize("has_positions", [False, True])
def test_attention_operator(has_positions):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 6, 10, 2, 8), torch.randn(2, 3, 5, 2, 8), torch.randn(2, 3, 5, 2, 8)
    rel_pos = RelPos(torch.randn(4, 2, 8), torch.randn(4, 2, 8)) if has_positions else None
    arguments = q, k, v, rel_pos, (4, 4), (2, 2), True
    torch.testing.assert_close(attend(*arguments), attention(*arguments, implementation="reference"))
    positions = rel_pos or (None, None)
    torch.library.opcheck(
        torch.ops.mvit_det.attention,
        (q, k, v, *positions, [4, 4], [2, 2], True),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_convolution_operator_states_its_result():
    x, weight = torch.randn(2, 32, 9, 7), torch.randn(32, 32, 3, 3)
    arguments = x, weight, None, [1, 1], [1, 1], [1, 1], 1
    torch.testing.assert_close(
        torch.ops.mvit_det.convolution(*arguments), F.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-4
    )
    torch.library.opcheck(
        torch.ops.mvit_det.convolution, arguments, test_utils=("test_schema", "test_faketensor")
    )
