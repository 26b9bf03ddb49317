"""Programs of torch.export whose batch, height and width are dynamic."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.dynamic_spec import ParamsSpec, ShapeVar, TensorSpec

from mvit_det import build_classifier, build_mvit

SIZES = ShapeVar("height", min=64, max=2048), ShapeVar("width", min=64, max=2048)
IMAGES = ParamsSpec({"images": TensorSpec([ShapeVar("n", min=1), 3, *SIZES])})
HW = [
    (64, 64), (64, 100), (65, 67), (96, 128), (127, 129), (160, 64), (224, 224), (225, 223), (256, 448),
    (320, 320), (333, 500), (448, 449), (512, 288), (640, 480), (800, 608), (896, 1120), (64, 2048),
    (2048, 65), (1333, 800), (2048, 2048),
]  # fmt: skip


def export(model):
    with torch.no_grad():
        return torch.export.export(model, (torch.randn(2, 3, 224, 160),), dynamic_shapes=IMAGES)


def randomize(model):
    """Give random values to positions, which are initialized with zeros."""
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or name == "pos_embed":
            nn.init.normal_(parameter, std=0.02)
    return model.eval()


def largest_difference(model, program, shapes):
    """Return the largest difference between the outputs, for random images of each of the shapes."""
    difference = 0.0
    for n, height, width in shapes:
        images = torch.randn(n, 3, height, width)
        with torch.no_grad():
            expected, actual = model(images), program(images)
        if isinstance(expected, torch.Tensor):
            expected, actual = {"": expected}, {"": actual}
        assert expected.keys() == actual.keys()
        for name, values in expected.items():
            assert values.shape == actual[name].shape
            difference = max(difference, (values - actual[name]).abs().max().item())
    return difference


@pytest.mark.slow
def test_one_program_runs_at_every_size():
    model = randomize(build_mvit("mvitv2_nano"))
    program = export(model).module()
    assert largest_difference(model, program, [(1, *hw) for hw in HW] + [(3, 96, 128)]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["auto", "matmul"])
@pytest.mark.parametrize("name", ["mvitv2_t", "mvitv1_t"])
def test_published_variants_can_be_exported(name, attention):
    model = randomize(build_mvit(name, attention=attention))
    program = export(model).module()
    assert largest_difference(model, program, [(1, 64, 96), (2, 333, 225), (1, 640, 480)]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("name", ["mvitv2_nano", "mvitv1_t"])
def test_classifiers_can_be_exported(name, class_token):
    model = randomize(build_classifier(name, 10, class_token=class_token))
    program = export(model).module()
    assert largest_difference(model, program, [(1, 64, 96), (2, 333, 225)]) < 1e-5
