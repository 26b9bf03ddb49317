import pytest
import torch

from mvit_det.ops.reference import reference_attention
from mvit_det.ops.self_test import check_attention


def test_a_gradient_that_is_not_a_number_is_found():
    class NanGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.nan

    def attention(q, k, v, *arguments):
        return reference_attention(q, k, NanGradient.apply(v), *arguments)

    with pytest.raises(RuntimeError, match="our kernel for attention is off by nan"):
        check_attention(attention, torch.empty(0))
