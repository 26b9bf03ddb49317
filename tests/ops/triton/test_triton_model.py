import copy

import pytest
import torch

from mvit_det import MViT


@pytest.mark.slow
@pytest.mark.parametrize("recompute", ["none", "cheap", "block"])
def test_gradients_of_a_model(recompute, request):
    torch.manual_seed(0)
    keywords = {"embed_dim": 8, "depth": 4, "last_block_indexes": (0, 1, 2, 3), "adaptive_window_size": 8}
    model = MViT(**keywords, recompute=recompute, rel_pos_zero_init=False)
    images = torch.randn(1, 3, 45, 70)

    def gradients(model):
        sum(output.square().sum() for output in model(images).values()).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    expected = gradients(copy.deepcopy(model))
    request.getfixturevalue("kernels")
    grads = gradients(model)
    for name, grad in grads.items():
        assert (grad - expected[name]).norm() <= 1e-3 * expected[name].norm() + 1e-5, name
    # The kernels did run: rounding differs.
    assert not torch.equal(grads["patch_embed.proj.weight"], expected["patch_embed.proj.weight"])
