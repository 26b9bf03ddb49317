import math

import pytest
import torch

from mvit_det.ops import chunking
from mvit_det.ops.attention import IMPLEMENTATIONS, choose_implementation
from mvit_det.ops.constants import one_hot_positions
from tests.ops.attention_cases import CASES, attend, inputs, with_gradients

# With one key the scores have no gradient, but in a fused attention that of the output's rounding.
SEVERAL_KEYS = [case for case in CASES if case != "one token"]


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    if request.param == "triton":
        request.getfixturevalue("kernels")
    elif request.param == "native":
        request.getfixturevalue("native")
    return request.param


def test_scores_by_hand(implementation):
    q = torch.tensor([2.0, 0.0]).view(1, 1, 1, 1, 2)  # one query
    k = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 1, 2)  # two keys in one row
    v = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 1, 2)
    rel_h = torch.tensor([[[0.5, 0.0]]])  # the same for both keys
    rel_w = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    first, second = math.exp(2 / math.sqrt(2) + 1), math.exp(0 + 1 + 2)
    share = first / (first + second)
    out = attend((q, k, v, rel_h, rel_w), (1, 1), (1, 2), False, implementation).flatten()
    torch.testing.assert_close(out, torch.tensor([share, 1 - share]))
    out = attend((q, k, v, rel_h, rel_w), (1, 1), (1, 2), True, implementation).flatten()
    torch.testing.assert_close(out, torch.tensor([share + 2, 1 - share]))


def test_without_relative_positions_it_is_torchs_attention(implementation):
    dtype = torch.float32 if implementation == "native" else torch.float64
    (q, k, v, _, _), q_window, kv_window = inputs("global", dtype)
    out = attend((q, k, v, None, None), q_window, kv_window, False, implementation)
    flat = [x.flatten(1, 2).transpose(1, 2) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*flat)
    torch.testing.assert_close(out.flatten(1, 2).transpose(1, 2), expected)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("implementation", ["sdpa", "tiled", "triton"], indirect=True)
def test_outputs_and_gradients_are_those_of_the_reference(implementation, case, residual):
    check_against_reference(implementation, case, residual)


@pytest.mark.parametrize("max_scores", [100, 1])  # 1: each row of queries is a tile
@pytest.mark.parametrize("case", CASES)
def test_smaller_tiles_give_the_same(case, max_scores, monkeypatch):
    monkeypatch.setattr(chunking, "CACHED_ELEMENTS", max_scores)
    check_against_reference("tiled", case, True)


@pytest.mark.parametrize("shares_keys", [True, False])
@pytest.mark.parametrize("case", ["global", "a window larger than the map"])
def test_smaller_tiles_of_the_kernels_give_the_same(case, shares_keys, kernels, monkeypatch):
    triton_attention = pytest.importorskip("mvit_det.ops.triton.attention")
    for name in ("FORWARD_QUERIES", "BACKWARD_QUERIES"):
        monkeypatch.setattr(triton_attention, name, 16)
    monkeypatch.setattr(triton_attention, "_has_shared_operands", lambda device: shares_keys)
    check_against_reference("triton", case, True, channels=24)


def check_against_reference(implementation, case, residual, channels=6):
    tensors, *windows = inputs(case, channels=channels)
    expected = with_gradients(tensors, *windows, residual, "reference")
    found = with_gradients(tensors, *windows, residual, implementation)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", SEVERAL_KEYS)
def test_on_a_gpu_half_precision_is_no_worse_than_the_references(case, dtype):
    check_half_precision(case, dtype, ("sdpa", "triton"), "cuda")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_half_precision_is_no_worse_than_the_references(case, dtype, monkeypatch):
    monkeypatch.setattr(chunking, "CACHED_ELEMENTS", 25)  # the gradients are sums over many tiles
    check_half_precision(case, dtype, ("sdpa", "tiled"))


@pytest.mark.parametrize("values", [1, 0.05])  # small values: the residual hides what was attended to
@pytest.mark.parametrize("case", SEVERAL_KEYS)
def test_half_precision_of_the_kernels_is_no_worse_than_the_references(case, values, kernels):
    check_half_precision(case, torch.float16, ["triton"], values=values)


def check_half_precision(case, dtype, implementations, device="cpu", values=1):
    tensors, *windows = inputs(case, channels=32)
    with torch.no_grad():
        tensors[2] *= values
    exact = with_gradients(tensors, *windows, True, "reference")
    rounded = [tensor.detach().to(device, dtype).requires_grad_() for tensor in tensors]

    def errors(implementation):
        found = [tensor.cpu() for tensor in with_gradients(rounded, *windows, True, implementation)]
        return [
            ((a - b).norm() / b.norm()).item()
            for a, b in zip(found, exact, strict=True)
            if b.norm() > 1e-9  # not 0
        ]

    allowed = [1.25 * error + 2 * torch.finfo(dtype).eps for error in errors("reference")]
    for implementation in implementations:
        assert all(a <= b for a, b in zip(errors(implementation), allowed, strict=True)), implementation


def test_which_implementations_save_the_scores(implementation):
    side, channels = 24, 8
    tensors = [torch.randn(1, side, side, 1, channels, requires_grad=True) for _ in range(3)]
    tensors += [torch.randn(side, side, channels, requires_grad=True) for _ in range(2)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        attend(tensors, (side, side), (side, side), False, implementation)
    stores_scores = max(kept) >= side**4
    assert stores_scores == (implementation in ("reference", "matmul"))


def test_which_implementations_have_second_derivatives(implementation):
    tensors, *windows = inputs("global", torch.float32)
    out = attend(tensors, *windows, False, implementation)
    (grad,) = torch.autograd.grad(out.square().sum(), tensors[0], create_graph=True)
    if implementation in ("reference", "matmul"):
        assert torch.autograd.grad(grad.square().sum(), tensors[0])[0].any()
    else:
        with pytest.raises(RuntimeError, match=r"differentiated once|derivative .* is not implemented"):
            torch.autograd.grad(grad.square().sum(), tensors[0])


def test_autocast_decides_the_dtype():
    tensors, *windows = inputs("global", torch.float32)
    for implementation in ("reference", "sdpa", "tiled"):  # Triton's interpreter cannot multiply bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            assert attend(tensors, *windows, False, implementation).dtype == torch.bfloat16


def test_operators_pass_opcheck(kernels):
    (q, k, v, rel_h, rel_w), *windows = inputs("filled-up windows", torch.float32)
    options = (*map(list, windows),)
    torch.library.opcheck(torch.ops.mvit_det.tiled_attention, (q, k, v, rel_h, rel_w, *options, True))
    attend((q, k, v, rel_h, rel_w), *windows, True, "triton")  # registers it
    for residual in (True, False):
        arguments = q, k, v, rel_h, rel_w, *options, residual
        torch.library.opcheck(torch.ops.mvit_det.triton_attention, arguments)


@pytest.mark.parametrize("has_kernels", [True, False])
def test_choice_of_the_implementation(has_kernels, monkeypatch):
    half = (torch.bfloat16, torch.float16)
    monkeypatch.setattr(
        "mvit_det.ops.attention.has_triton",
        lambda device, dtype: has_kernels and device == "cuda" and dtype in half,
    )
    monkeypatch.setattr(
        "mvit_det.ops.attention.has_native",
        lambda device, dtype: has_kernels and (device, dtype) == ("cpu", torch.float32),
    )
    assert choose_implementation("auto", "cpu", torch.float32) == ("native" if has_kernels else "tiled")
    assert choose_implementation("auto", "cpu", torch.bfloat16) == "tiled"
    assert choose_implementation("auto", "cuda", torch.bfloat16, 64) == ("triton" if has_kernels else "sdpa")
    assert choose_implementation("auto", "cuda", torch.bfloat16, 65) == "sdpa"
    assert choose_implementation("auto", "cuda", torch.float32) == "sdpa"
    assert choose_implementation("auto", "cuda", torch.float64) == "reference"
    assert choose_implementation("reference", "cuda", torch.float64) == "reference"
    with pytest.raises(
        ValueError, match="'tiled': cannot run in bfloat16 on cuda; .* matmul, reference, sdpa"
    ):
        choose_implementation("tiled", "cuda", torch.bfloat16)
    with pytest.raises(ValueError, match="'sdpa': cannot run in float64 on cuda; .* matmul, reference$"):
        choose_implementation("sdpa", "cuda", torch.float64)
    with pytest.raises(ValueError, match=r"on cuda with rows of 65 keys .* \(at most 64 and 128\); .* sdpa$"):
        choose_implementation("triton", "cuda", torch.bfloat16, 65, 96)
    with pytest.raises(ValueError, match=r"heads of 129 channels \(at most 64 and 128\); .* sdpa$"):
        choose_implementation("triton", "cuda", torch.bfloat16, 64, 129)
    with pytest.raises(ValueError, match=r"'native': cannot run in float32 on cuda; .* reference, sdpa$"):
        choose_implementation("native", "cuda", torch.float32)
    with pytest.raises(ValueError, match=r"'triton': .* float32 on cuda \(.*\); .* sdpa$"):
        choose_implementation("triton", "cuda", torch.float32)


def test_one_hot_positions_of_two_rows_and_three_columns():
    positions = one_hot_positions((2, 3), torch.float32, torch.device("cpu"))
    assert positions.tolist() == [
        [1, 0, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 0, 1],
        [0, 1, 1, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 0, 0, 1],
    ]
