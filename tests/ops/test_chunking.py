import torch

from mvit_det.ops import chunking
from mvit_det.ops.chunking import in_chunks


def test_chunks_give_the_same_result(monkeypatch):
    monkeypatch.setattr(chunking, "MIN_ROWS", 4)
    monkeypatch.setattr(chunking, "CACHED_ELEMENTS", 4)
    sizes = []

    def function(x):
        sizes.append(len(x))
        return 2 * x

    x = torch.randn(2, 3, 3, 5)
    with torch.no_grad():
        assert torch.equal(in_chunks(function, x, 1), 2 * x)
    assert sizes == [4, 4, 4, 4, 2]
    sizes.clear()
    in_chunks(function, x, 1)  # gradients may be wanted
    assert sizes == [2]


def test_chunks_may_change_the_width(monkeypatch):
    monkeypatch.setattr(chunking, "MIN_ROWS", 4)
    monkeypatch.setattr(chunking, "CACHED_ELEMENTS", 4)
    x = torch.randn(2, 3, 3, 5)
    with torch.no_grad():
        widened = in_chunks(lambda part: torch.cat([part, -part], dim=-1).bfloat16(), x, 1)
    assert torch.equal(widened, torch.cat([x, -x], dim=-1).bfloat16())
