import torch

from mvit_det.ops.relative_bias import RelPos, relative_axes


def test_biases_and_gradients_are_those_of_the_definition():
    torch.manual_seed(0)
    q = torch.randn(
        2, 3, 5, 2, 4, dtype=torch.float64
    )  # windows of 2 x 3 reach over the bottom and the right
    rel_h, rel_w = (torch.randn(*shape, 4, dtype=torch.float64) for shape in ((2, 6), (3, 7)))
    axes = relative_axes(q, RelPos(rel_h, rel_w), (2, 3), (6, 7))
    inputs = [x.clone().requires_grad_() for x in (q, rel_h, rel_w)]
    biases = (
        torch.einsum("nhwdc,hkc->nhwdk", inputs[0], inputs[1][[0, 1, 0]]),
        torch.einsum("nhwdc,wkc->wdnhk", inputs[0], inputs[2][[0, 1, 2, 0, 1]]),
    )
    upstream = [torch.randn_like(bias) for bias in biases]
    expected_q, *expected_rel = torch.autograd.grad(biases, inputs, upstream)
    grad_q = torch.zeros_like(q)
    for axis, bias, grad, grad_rel in zip(axes, biases, upstream, expected_rel, strict=True):
        found = axis.biases()
        torch.testing.assert_close(found, bias.reshape(found.shape))
        torch.testing.assert_close(axis.backward(grad.reshape(found.shape), grad_q), grad_rel)
    torch.testing.assert_close(grad_q, expected_q)
