"""Properties of every format in ``FORMATS``."""

import inspect
from pathlib import Path

import pytest
import torch

from mvit_det.errors import InputError
from mvit_det.weights import identify_checkpoint
from mvit_det.weights.formats import FORMATS
from mvit_det.weights.formats import __file__ as package_file

DETECTOR_FORMAT = "mvit_det, torchvision"  # has no classifiers or backbones


def test_every_module_is_in_the_table_and_has_three_public_functions():
    names = {path.stem for path in Path(package_file).parent.glob("*.py")} - {"__init__", "interface"}
    assert {module.__name__.rpartition(".")[2] for module in FORMATS.values()} == names
    for module in FORMATS.values():
        functions = inspect.getmembers(module, inspect.isfunction)
        own = {name for name, function in functions if function.__module__ == module.__name__}
        public = {name for name in own if not name.startswith("_")}
        assert public == {"recognize", "to_our_names", "from_our_names"}, module


@pytest.mark.parametrize("name", [name for name in FORMATS if name != DETECTOR_FORMAT])
def test_a_classifier_makes_a_round_trip(name, classifier_weights, assert_same_weights):
    written = FORMATS[name].from_our_names(classifier_weights)
    assert FORMATS[name].recognize(written)
    assert_same_weights(FORMATS[name].to_our_names(written), classifier_weights)
    checkpoint = identify_checkpoint(Path("a.pth"), {"model": written})
    assert (checkpoint.format, checkpoint.kind, checkpoint.variant) == (name, "classifier", "mvitv2_nano")
    assert_same_weights(checkpoint.weights, classifier_weights)


@pytest.mark.parametrize(
    "name", [name for name in FORMATS if name not in (DETECTOR_FORMAT, "the MViTv2 repository")]
)
def test_a_backbone_makes_a_round_trip(name, classifier_weights, assert_same_weights):
    backbone = identify_checkpoint(Path("a.pth"), classifier_weights).backbone
    checkpoint = identify_checkpoint(Path("b.pth"), FORMATS[name].from_our_names(backbone))
    assert (checkpoint.format, checkpoint.kind) == (name, "backbone")
    assert_same_weights(checkpoint.weights, backbone)


@pytest.mark.parametrize("name", FORMATS)
def test_weights_of_another_network_are_not_recognized(name):
    assert not FORMATS[name].recognize({"layer1.0.conv1.weight": torch.zeros(2), "fc.weight": torch.zeros(2)})


def test_zero_dimensional_weights_and_huge_block_numbers_raise_input_errors():
    for key in (
        "patch_embed.proj.weight",
        "head.projection.weight",
        "rpn.head.conv.0.0.weight",
        "backbone.bottom_up.patch_embed.proj.weight",
        "stages.0.blocks.0.attn.qkv.weight",
    ):
        weights = {key: torch.tensor(1.0), f"stages.{'9' * 5000}.blocks.0.a": torch.tensor(1.0)}
        with pytest.raises(InputError, match="holds the weights of another network"):
            identify_checkpoint(Path("a.pth"), weights)
