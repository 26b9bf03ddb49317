import pytest
import torch

from mvit_det.ops.native.library import load_library
from mvit_det.ops.native.roi_align import native_roi_align
from mvit_det.ops.reference import reference_roi_align

pytestmark = pytest.mark.usefixtures("native")

SCALES = [1 / 4, 1 / 8]
BOXES = torch.tensor(
    [
        [10.0, 8, 60, 50],
        [-30, -30, 200, 150],  # beyond the image
        [20, 20, 20.5, 21],  # less than a cell
        [0, 0, 100, 80],
        [500, 500, 600, 600],  # outside
        [30, 30, 30, 40],  # empty
    ]
)


@pytest.fixture(scope="module", params=["cc", "cc -mno-avx512f"])
def library(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", request.param)
        return load_library.__wrapped__("roi_align")


@pytest.mark.parametrize("channels", [32, 160])
@pytest.mark.parametrize("output_size", [1, 7, 14])
def test_matches_the_reference(output_size, channels, library, monkeypatch):
    monkeypatch.setattr("mvit_det.ops.native.library.load_library", lambda name: library)
    maps = [
        torch.randn(2, channels, 20, 25, requires_grad=True),
        torch.randn(2, channels, 10, 13, requires_grad=True),
    ]
    image_index, levels = torch.tensor([0, 1, 0, 1, 1, 0]), torch.tensor([0, 1, 0, 1, 0, 1])
    regions = BOXES[:5], image_index[:5], levels[:5]
    results = [
        roi_align(maps, *regions, SCALES, output_size)
        for roi_align in (native_roi_align, reference_roi_align)
    ]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    grads = [torch.autograd.grad(result.square().sum(), maps) for result in results]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)


def test_pools_the_value_at_the_center_of_a_bin_from_a_linear_map():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    pooled = native_roi_align(
        [(100 * y + x).expand(1, 32, 16, 16)], torch.tensor([[8.0, 16, 24, 48]]), torch.tensor([0]),
        torch.tensor([0]), [1 / 4], 2,
    )  # fmt: skip
    # In cells: 2 to 6 and 4 to 12, with bins centered on 3, 5 and 6, 10; cell i is centered on i + 0.5.
    expected = torch.tensor([[552.5, 554.5], [952.5, 954.5]])
    torch.testing.assert_close(pooled, expected.expand(1, 32, 2, 2))


def test_empty_boxes_and_no_boxes():
    maps = [torch.randn(1, 32, 8, 8, requires_grad=True)]
    zeros = torch.zeros(1, dtype=torch.int64)
    assert not native_roi_align(maps, BOXES[5:], zeros, zeros, [1.0], 7).any()
    none = native_roi_align(maps, BOXES[:0], zeros[:0], zeros[:0], [1.0], 7)
    assert none.shape == (0, 32, 7, 7)
    none.sum().backward()
    assert not maps[0].grad.any()


@pytest.mark.parametrize("box", [[torch.nan] * 4, [0, 0, torch.inf, torch.inf], [-1e30, 0, 1e30, 1e30]])
def test_boxes_that_are_not_finite_or_are_huge_end(box):
    zeros = torch.zeros(1, dtype=torch.int64)
    pooled = native_roi_align([torch.ones(1, 32, 8, 8)], torch.tensor([box]), zeros, zeros, [1.0], 7)
    assert pooled.shape == (1, 32, 7, 7)


def test_gradients_do_not_depend_on_the_number_of_threads():
    maps, zeros = [torch.randn(1, 64, 12, 12, requires_grad=True)], torch.zeros(4, dtype=torch.int64)
    grads, threads = [], torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            pooled = native_roi_align(maps, BOXES[:4], zeros, zeros, [1 / 8], 7)
            grads.append(torch.autograd.grad(pooled.square().sum(), maps)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*grads)


def test_is_a_valid_operator():
    maps = [torch.randn(1, 32, 4, 5, requires_grad=True)]
    zeros = torch.zeros(2, dtype=torch.int64)
    torch.library.opcheck(
        torch.ops.mvit_det.native_roi_align, (BOXES[:2], zeros, zeros, maps, 1, [4, 5], [1.0], 7)
    )


@pytest.mark.parametrize(
    ("image", "level"), [(-1, 0), (1, 0), (0, -1), (0, 8), (0, 2**63 - 2), (0, -(2**63))]
)
def test_regions_whose_image_or_level_does_not_exist_are_zeros(image, level):
    maps = [torch.randn(1, 32, 8, 8, requires_grad=True)]
    image_index, levels = torch.tensor([0, image]), torch.tensor([0, level])
    pooled = native_roi_align(maps, BOXES[:2], image_index, levels, [1 / 8], 7)
    alone = native_roi_align(maps, BOXES[:1], image_index[:1], levels[:1], [1 / 8], 7)
    assert torch.equal(pooled, torch.cat([alone, torch.zeros_like(alone)]))
    assert torch.equal(*(torch.autograd.grad(x.square().sum(), maps)[0] for x in (pooled, alone)))


def test_levels_of_different_channels_are_refused():
    zeros = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(AssertionError, match=r"levels: .*32"):
        native_roi_align(
            [torch.ones(1, 64, 8, 8), torch.ones(1, 32, 4, 4)], BOXES[:1], zeros, zeros, SCALES, 7
        )


def test_a_second_derivative_is_refused():
    maps, zeros = [torch.randn(1, 32, 8, 8, requires_grad=True)], torch.zeros(1, dtype=torch.int64)
    pooled = native_roi_align(maps, BOXES[:1], zeros, zeros, [1 / 8], 7)
    (grad,) = torch.autograd.grad(pooled.square().sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="RoIAlign can be differentiated once"):
        grad.sum().backward()
