import pytest
import torch

from mvit_det.ops.native.roi_align import native_roi_align
from mvit_det.ops.reference import reference_roi_align
from mvit_det.ops.roi_align import has_native_roi_align


@pytest.mark.usefixtures("native")
def test_half_precision_is_pooled_in_float32():
    maps = [torch.randn(1, 32, 10, 12).bfloat16().requires_grad_(), torch.randn(1, 32, 5, 6).bfloat16()]
    regions = (
        torch.tensor([[3.3, 5.1, 30.7, 37.9], [0.2, 0.3, 47, 39]]),
        torch.tensor([0, 0]),
        torch.tensor([0, 1]),
    )
    assert has_native_roi_align(maps)
    pooled = native_roi_align(maps, *regions, [1 / 4, 1 / 8], 7)
    expected = reference_roi_align([level.float() for level in maps], *regions, [1 / 4, 1 / 8], 7)
    torch.testing.assert_close(pooled, expected.bfloat16(), rtol=0.01, atol=1e-5)
    pooled.sum().backward()
    assert maps[0].grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "level",
    [
        torch.empty(1, 32, 4, 4, dtype=torch.float64),
        torch.empty(1, 5, 4, 4),
        torch.empty(1, 32, 4, 4, device="meta"),
    ],
)
def test_other_levels_are_not_supported(level):
    assert not has_native_roi_align([level])
