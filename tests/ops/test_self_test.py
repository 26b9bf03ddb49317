import pytest
import torch

from mvit_det.ops.reference import reference_attention
from mvit_det.ops.self_test import check_attention


def test_a_nan_in_a_gradient_fails():
    class NanGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.nan

    def attention(q, k, v, *args):
        return reference_attention(q, k, NanGradient.apply(v), *args)

    with pytest.raises(RuntimeError, match="the kernel of attention has a relative error of nan"):
        check_attention(attention, torch.empty(0))
