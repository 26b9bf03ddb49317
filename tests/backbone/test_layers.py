import pytest
import torch

from mvit_det import build_mvit
from mvit_det.backbone.drop_path import DropPath


def test_drop_path_drops_whole_images_and_keeps_the_expectation():
    torch.manual_seed(0)
    layer = DropPath(0.25).train()
    out = layer(torch.ones(4000, 2, 3, 5))
    per_image = out.flatten(1)
    assert (per_image == per_image[:, :1]).all()
    kept = per_image[:, 0] != 0
    assert per_image[kept, 0].unique().tolist() == pytest.approx([1 / 0.75])
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_drop_path_does_nothing_at_inference():
    x = torch.randn(3, 4)
    assert DropPath(0.9).eval()(x) is x


def test_drop_path_refuses_a_rate_of_one():
    with pytest.raises(ValueError, match="1: must be at least 0 and below 1"):
        DropPath(1)


def test_a_block_drops_whole_images_without_gradients_too():
    torch.manual_seed(0)
    block = build_mvit("mvitv2_nano", drop_path_rate=0.9).train().blocks[-2]
    x = torch.randn(64, 2, 2, 128)
    with torch.no_grad():
        moved = ((block(x) - x).abs().amax(-1) > 0).flatten(1)  # of each token
    assert torch.equal(moved.all(1), moved.any(1))
    assert 0 < moved.any(1).sum() < 64
