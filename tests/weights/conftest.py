import pytest
import torch

from mvit_det import build_classifier
from mvit_det.torchvision import build_detector


@pytest.fixture
def randomize():
    """Return a function that changes every tensor of a model at random, because new norms are all equal."""

    def randomize(model):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                scale = 0.02 if tensor.is_floating_point() else 10
                tensor.copy_(tensor + scale * torch.randn(tensor.shape, generator=generator))
        return model.eval()

    return randomize


@pytest.fixture(
    params=[{}, {"dim_mul_in_att": False}, {"class_token": True, "use_abs_pos": True}],
    ids=["plain", "widens_in_mlp", "class_token"],
)
def classifier_weights(request, randomize):
    """Return the random weights of a small classifier, under our names."""
    return randomize(build_classifier("mvitv2_nano", num_classes=10, **request.param)).state_dict()


@pytest.fixture
def detector_weights(randomize):
    """Return a function that returns the random weights of a small torchvision detector."""

    def detector_weights(head, num_classes):
        return randomize(build_detector("mvitv2_nano", num_classes, head)).state_dict()

    return detector_weights


@pytest.fixture
def assert_same_weights():
    """Return a function that asserts that two state dicts are equal to the bit."""

    def assert_same_weights(actual, expected):
        assert list(actual) == list(expected)
        for key, weight in expected.items():
            assert actual[key].dtype == weight.dtype, key
            assert torch.equal(actual[key], weight), key

    return assert_same_weights
