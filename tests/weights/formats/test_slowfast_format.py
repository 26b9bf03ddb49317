from pathlib import Path

import pytest
import torch

from mvit_det import build_mvit
from mvit_det.errors import InputError
from mvit_det.weights import identify_checkpoint
from mvit_det.weights.formats import slowfast


def test_pooling_kernels_have_a_frame_axis(classifier_weights):
    written = slowfast.from_our_names(classifier_weights)
    three_dimensional = [key for key, weight in written.items() if weight.dim() == 5]
    assert three_dimensional == [f"blocks.{block}.attn.pool_{x}.weight" for block in range(6) for x in "qkv"]
    assert written["blocks.0.attn.pool_q.weight"].shape == (32, 1, 1, 3, 3)
    assert written["patch_embed.proj.weight"].shape == (32, 3, 7, 7)
    assert torch.equal(written["head.projection.bias"], classifier_weights["head.bias"])


def test_a_patch_embedding_of_one_frame_loses_its_frame_axis():
    weight = torch.rand(32, 3, 1, 7, 7)
    weights = slowfast.to_our_names({"patch_embed.proj.weight": weight})
    assert torch.equal(weights["patch_embed.proj.weight"], weight[:, :, 0])


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("patch_embed.proj.weight", (32, 3, 3, 7, 7)),
        ("pos_embed_temporal", (1, 8, 32)),
        ("blocks.0.attn.rel_pos_t", (15, 32)),
    ],
)
def test_video_networks_are_refused(key, shape):
    weights = build_mvit("mvitv2_nano").state_dict() | {key: torch.zeros(shape)}
    with pytest.raises(InputError, match=r"a.pyth: holds the weights of a video network; expected .* image"):
        identify_checkpoint(Path("a.pyth"), {"model_state": weights})
