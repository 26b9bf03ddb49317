"""Compile our Triton kernels, as a training step would call them, for a GPU that this machine need not have.

The argument is the compute capability, such as 90. Prints a line per kernel: its name, the compute
capability, and the bytes of shared memory.
"""

import sys
from types import SimpleNamespace

import torch
import triton
from triton.backends.compiler import GPUTarget

from mvit_det.ops.relative_bias import RelPos
from mvit_det.ops.triton import attention
from mvit_det.ops.triton.norm import triton_norm, triton_pooled_norm


def compile_all(capability: int) -> None:
    target = GPUTarget("cuda", capability, 32)
    driver = SimpleNamespace(
        get_current_target=lambda: target, get_current_device=lambda: 0, get_current_stream=lambda _: 0
    )
    triton.runtime.driver.set_active(driver)
    launch = triton.runtime.JITFunction.run

    def compile_only(kernel, *args, warmup, **kwargs):
        compiled = launch(kernel, *args, warmup=True, **kwargs)
        print(kernel.__name__, capability, compiled.metadata.shared)
        return compiled

    triton.runtime.JITFunction.run = compile_only
    attention._has_shared_operands = lambda _: capability // 10 in (9, 10)
    for q_hw, q_window, kv_hw, kv_window, is_v2 in (
        ((60, 70), (56, 56), (15, 18), (14, 14), True),  # windows of the first stage
        ((60, 70), (56, 56), (15, 18), (14, 14), False),  # MViTv1: no relative positions, no residual
        ((50, 84), (50, 84), (25, 42), (25, 42), True),  # global attention
    ):
        q, k = (torch.zeros(1, *hw, 2, 96, dtype=torch.bfloat16, requires_grad=True) for hw in (q_hw, kv_hw))
        sides = zip(q_window, kv_window, strict=True)
        rel = [torch.zeros(*side, 96, dtype=torch.bfloat16, requires_grad=True) for side in sides]
        rel_pos = RelPos(*rel) if is_v2 else None
        attention.triton_attention(q, k, k, rel_pos, q_window, kv_window, is_v2).sum().backward()
    weight, kernel = torch.zeros(96, requires_grad=True), torch.zeros(96, 1, 3, 3, requires_grad=True)
    triton_pooled_norm(q, kernel, weight, weight, 1e-6, 2).sum().backward()
    for channels in (96, 1152):
        x = torch.zeros(9, channels, dtype=torch.bfloat16, requires_grad=True)
        weight = torch.zeros(channels, requires_grad=True)
        triton_norm(x, weight, weight, 1e-6).sum().backward()


if __name__ == "__main__":
    compile_all(int(sys.argv[1]))
