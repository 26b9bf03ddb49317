import pytest
import torch
from torch import nn

from mvit_det.weights.positions import resize_positions


def test_absolute_positions_keep_the_class_token_and_are_resized_as_a_map():
    table = torch.rand(1, 1 + 16 * 16, 8)
    resized = resize_positions("pos_embed", table, torch.zeros(1, 1 + 24 * 24, 8))
    assert torch.equal(resized[:, 0], table[:, 0])
    square = table[:, 1:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(square, size=(24, 24), mode="bicubic").flatten(2).mT
    assert torch.equal(resized[:, 1:], expected)
    assert resize_positions("pos_embed", table[:, 1:], torch.zeros(1, 24 * 24, 8)).shape == (1, 24 * 24, 8)


def test_relative_positions_are_resized_around_distance_0():
    table = torch.linspace(0, 1, 31)[:, None].expand(-1, 4)
    resized = resize_positions("blocks.0.attn.rel_pos_h", table, torch.zeros(63, 4))
    assert resized.shape == (63, 4)
    assert resized[31, 0] == pytest.approx(0.5, abs=1e-6)
    assert (resized[1:, 0] >= resized[:-1, 0]).all()


@pytest.mark.parametrize(
    ("key", "shape", "target"),
    [
        ("blocks.0.attn.rel_pos_h", (31, 4), (31, 8)),  # another width
        ("blocks.0.attn.rel_pos_h", (0, 4), (31, 4)),
        ("pos_embed", (1, 17, 4), (1, 64, 4)),  # a class token on one side only
        ("pos_embed", (1, 20, 4), (1, 65, 4)),  # not a square
        ("pos_embed", (17, 4), (1, 65, 4)),
        ("blocks.0.mlp.fc1.weight", (31, 4), (63, 4)),  # no positions
    ],
)
def test_other_tensors_are_not_resized(key, shape, target):
    assert resize_positions(key, torch.rand(shape), torch.rand(target)) is None
