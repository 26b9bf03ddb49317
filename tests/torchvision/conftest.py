import pytest
import torch

from mvit_det.heads import HEADS
from mvit_det.torchvision.models.detector import build_detector
from mvit_det.weights.checkpoint import CONFIG_KEY

CONFIG = {
    "variant": "mvitv2_nano",
    "categories": {3: "cat", 7: "dog"},
    "short_side": 256,
    "long_side": 400,
}


@pytest.fixture(params=HEADS)
def trained(request, tmp_path):
    """A checkpoint as training writes it, and the weights of its detector, none of them 0 or 1."""
    torch.manual_seed(0)
    state = build_detector("mvitv2_nano", 3, request.param).state_dict()
    state = {k: w + torch.rand_like(w) if w.is_floating_point() else w + 5 for k, w in state.items()}
    path = tmp_path / "best.ckpt"
    weights = {f"detector.{key}": weight for key, weight in state.items()}
    torch.save({CONFIG_KEY: CONFIG | {"head": request.param}, "state_dict": weights, "epoch": 4}, path)
    return path, state
