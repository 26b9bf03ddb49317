import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mvit_det.ops.convolution import Conv2d, conv2d, use_fast_convolutions


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("channels", [(32, 64), (5, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_pytorch(dtype, channels, side):
    x = torch.randn(2, channels[0], 5, 6, dtype=dtype)
    weight, bias = (
        torch.randn(*channels[::-1], side, side, dtype=dtype),
        torch.randn(channels[1], dtype=dtype),
    )
    expected = F.conv2d(x, weight, bias, padding=side // 2)
    torch.testing.assert_close(conv2d(x, weight, bias), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        conv2d(x, weight, None), F.conv2d(x, weight, padding=side // 2), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("side", [1, 3])
def test_autocast_convolves_in_bfloat16(side):
    x, weight = torch.randn(1, 32, 4, 4), torch.randn(32, 32, side, side)
    with torch.autocast("cpu", torch.bfloat16):
        result, expected = conv2d(x, weight, None), F.conv2d(x, weight, padding=side // 2)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, expected)


def test_convolutions_that_are_supported_change_their_class_only():
    plain, subclass = nn.Conv2d(32, 32, 3, padding=1), type("Other", (nn.Conv2d,), {})(32, 32, 3, padding=1)
    others = [
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.Conv2d(32, 32, 3),
        nn.Conv2d(32, 32, 3, padding="same"),
    ]
    others += [
        nn.Conv2d(32, 32, 3, padding=1, groups=4),
        nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect"),
    ]
    model = nn.ModuleList([plain, subclass, *others])
    keys, weight = list(model.state_dict()), plain.weight
    use_fast_convolutions(model)
    assert [type(module) is Conv2d for module in model] == [True] + [False] * 6
    assert list(model.state_dict()) == keys
    assert plain.weight is weight
    calls = []
    plain.register_forward_hook(lambda *args: calls.append(1))
    assert plain(torch.randn(1, 32, 4, 4)).shape == (1, 32, 4, 4)
    assert calls


def test_one_image_without_a_batch_is_convolved_as_by_pytorch():
    plain, fast = (nn.Conv2d(32, 32, 3, padding=1) for _ in range(2))
    fast.load_state_dict(plain.state_dict())
    use_fast_convolutions(fast)
    x = torch.randn(32, 4, 5)
    assert torch.equal(fast(x), plain(x))
    with pytest.raises(RuntimeError, match="to have 32 channels"):
        fast(torch.randn(1, 64, 4, 5))
