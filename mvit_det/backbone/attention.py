"""Multi-head pooling attention."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mvit_det.backbone.rel_pos import relative_rows
from mvit_det.backbone.variants import BlockSpec
from mvit_det.ops.attention import attend
from mvit_det.ops.norm import pool_and_norm


class MultiScaleAttention(nn.Module):
    """Multi-head attention whose queries, keys and values are pooled.

    Maps queries, keys and values, each (N, H, W, dim_att), to (N, h, w, dim_att); h and w are H and W
    divided by ``block.stride_q``, rounded up. Pooling is a depthwise convolution over one head's
    channels, the same for all heads, then a norm; without ``block.pool_q`` queries have neither. The
    projections before and after, ``qkv`` and ``proj``, are held here and applied by the block.
    Source: MViTv2 paper, section 4.1.
    """

    def __init__(
        self,
        block: BlockSpec,
        *,
        pool_kernel: tuple[int, int],
        residual_pooling: bool,
        qkv_bias: bool,
        norm_layer: Callable[[int], nn.Module],
        use_rel_pos: bool,
        rel_pos_zero_init: bool,
        implementation: str,
    ) -> None:
        super().__init__()
        self.implementation = implementation
        self.num_heads = block.num_heads
        self.window_size = block.window_size
        self.stride_q, self.stride_kv = block.stride_q, block.stride_kv
        self.residual_pooling = residual_pooling
        head_dim = block.dim_att // block.num_heads

        def pool(stride: int) -> nn.Conv2d:
            padding = (pool_kernel[0] // 2, pool_kernel[1] // 2)
            return nn.Conv2d(head_dim, head_dim, pool_kernel, stride, padding, groups=head_dim, bias=False)

        self.qkv = nn.Linear(block.dim, 3 * block.dim_att, bias=qkv_bias)
        self.proj = nn.Linear(block.dim_att, block.dim_att)
        self.pool_q: nn.Conv2d | None = pool(block.stride_q) if block.pool_q else None
        self.norm_q = norm_layer(head_dim) if block.pool_q else nn.Identity()
        self.pool_k, self.norm_k = pool(block.stride_kv), norm_layer(head_dim)
        self.pool_v, self.norm_v = pool(block.stride_kv), norm_layer(head_dim)

        self.rel_pos_h: nn.Parameter | None = None
        self.rel_pos_w: nn.Parameter | None = None
        if use_rel_pos:
            stride = min(block.stride_q, block.stride_kv)
            table = torch.zeros(2 * (block.input_size // stride) - 1, head_dim)
            self.rel_pos_h, self.rel_pos_w = nn.Parameter(table), nn.Parameter(table.clone())
            if not rel_pos_zero_init:
                nn.init.trunc_normal_(self.rel_pos_h, std=0.02)
                nn.init.trunc_normal_(self.rel_pos_w, std=0.02)

    def qkv_layers(self) -> list[tuple[Tensor, Tensor | None]]:
        """Return weight and bias of the projections to queries, keys and values."""
        weights, bias = self.qkv.weight.chunk(3), self.qkv.bias
        return list(zip(weights, [None] * 3 if bias is None else bias.chunk(3), strict=True))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = self.pool(q, self.pool_q, self.norm_q)
        k, v = self.pool(k, self.pool_k, self.norm_k), self.pool(v, self.pool_v, self.norm_v)
        q_window, kv_window = self._windows((q.shape[1], q.shape[2]), (k.shape[1], k.shape[2]))
        rel_h = rel_w = None
        if self.rel_pos_h is not None and self.rel_pos_w is not None:
            rel_h = relative_rows(self.rel_pos_h, q_window[0], kv_window[0])
            rel_w = relative_rows(self.rel_pos_w, q_window[1], kv_window[1])
        return attend(
            q, k, v, rel_h, rel_w, q_window, kv_window, self.residual_pooling, self.implementation
        ).flatten(3)

    def pool(self, x: Tensor, conv: nn.Conv2d | None, norm: nn.Module) -> Tensor:
        """Pool a map, if at all, and normalise each head: (N, H, W, dim_att) -> (N, h, w, heads, C)."""
        x = x.unflatten(-1, (self.num_heads, -1))
        return norm(x) if conv is None else pool_and_norm(x, conv, norm)

    def _windows(
        self, q_hw: tuple[int, int], kv_hw: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the windows of queries and of keys, which are the maps where attention is global."""
        if self.window_size == 0:
            return q_hw, kv_hw
        q_size, kv_size = self.window_size // self.stride_q, self.window_size // self.stride_kv
        return (q_size, q_size), (kv_size, kv_size)
