"""Multi-head pooling attention, and the function that computes it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mvit_det.backbone.rel_pos import relative_rows
from mvit_det.backbone.variants import BlockSpec
from mvit_det.backbone.windows import partition, unpartition


def attend(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor | None, rel_w: Tensor | None) -> Tensor:
    """Softmax attention over a map with decomposed relative positions.

    The score of query i and key j is  q_i k_j / sqrt(C) + q_i rel_h[Δh] + q_i rel_w[Δw].

    Args:
        q: (N, q_h, q_w, C)
        k: (N, k_h, k_w, C)
        v: (N, k_h, k_w, C)
        rel_h: (q_h, k_h, C), or None without relative positions.
        rel_w: (q_w, k_w, C), or None with ``rel_h``.

    Returns:
        (N, q_h, q_w, C)

    Source: MViTv2 paper, section 4.1, equations 2 to 4.
    """
    n, q_h, q_w, channels = q.shape
    k_h, k_w = k.shape[1:3]
    scores = (q.flatten(1, 2) * channels**-0.5) @ k.flatten(1, 2).mT  # (N, q_h * q_w, k_h * k_w)
    if rel_h is not None and rel_w is not None:
        bias_h = torch.einsum("nhwc,hkc->nhwk", q, rel_h)[:, :, :, :, None]
        bias_w = torch.einsum("nhwc,wkc->nhwk", q, rel_w)[:, :, :, None, :]
        scores = (scores.view(n, q_h, q_w, k_h, k_w) + bias_h + bias_w).view_as(scores)
    return (scores.softmax(-1) @ v.flatten(1, 2)).view(n, q_h, q_w, -1)


class MultiScaleAttention(nn.Module):
    """Multi-head attention whose queries, keys and values are pooled: (N, H, W, dim) -> (N, h, w, dim_out).

    Pooling is a depthwise convolution over one head's channels, the same for all heads, then a
    norm; h and w are H and W divided by ``block.stride_q``, rounded up.
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
    ) -> None:
        super().__init__()
        self.num_heads = block.num_heads
        self.window_size = block.window_size
        self.stride_q, self.stride_kv = block.stride_q, block.stride_kv
        self.residual_pooling = residual_pooling
        head_dim = block.dim_out // block.num_heads

        def pool(stride: int) -> nn.Conv2d:
            padding = (pool_kernel[0] // 2, pool_kernel[1] // 2)
            return nn.Conv2d(head_dim, head_dim, pool_kernel, stride, padding, groups=head_dim, bias=False)

        self.qkv = nn.Linear(block.dim, 3 * block.dim_out, bias=qkv_bias)
        self.proj = nn.Linear(block.dim_out, block.dim_out)
        self.pool_q, self.norm_q = pool(block.stride_q), norm_layer(head_dim)
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

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, _ = x.shape
        qkv = self.qkv(x).view(n, height, width, 3, self.num_heads, -1)
        qkv = qkv.permute(3, 0, 4, 5, 1, 2).flatten(1, 2)  # (3, N * heads, C, H, W)
        q = self.norm_q(self.pool_q(qkv[0]).permute(0, 2, 3, 1))  # (N * heads, h, w, C)
        k = self.norm_k(self.pool_k(qkv[1]).permute(0, 2, 3, 1))
        v = self.norm_v(self.pool_v(qkv[2]).permute(0, 2, 3, 1))

        out = self._attend_in_windows(q, k, v) if self.window_size else self._attend(q, k, v)
        if self.residual_pooling:
            out = out + q
        out = out.unflatten(0, (n, self.num_heads)).permute(0, 2, 3, 1, 4).flatten(3)
        return self.proj(out)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.rel_pos_h is None or self.rel_pos_w is None:
            return attend(q, k, v, None, None)
        rel_h = relative_rows(self.rel_pos_h, q.shape[1], k.shape[1])
        rel_w = relative_rows(self.rel_pos_w, q.shape[2], k.shape[2])
        return attend(q, k, v, rel_h, rel_w)

    def _attend_in_windows(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q_size, kv_size = self.window_size // self.stride_q, self.window_size // self.stride_kv
        out = self._attend(partition(q, q_size), partition(k, kv_size), partition(v, kv_size))
        return unpartition(out, (q.shape[1], q.shape[2]))
