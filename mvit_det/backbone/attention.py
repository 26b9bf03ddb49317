"""Multi-head pooling attention."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mvit_det.backbone.block_spec import BlockSpec
from mvit_det.backbone.rel_pos import relative_positions
from mvit_det.ops.attention import attention
from mvit_det.ops.linear import linear, split_linear
from mvit_det.ops.norm import normalize, pool_and_normalize
from mvit_det.ops.relative_bias import RelPos


class MultiScaleAttention(nn.Module):
    """Multi-head attention with pooled queries, keys and values: (N, H, W, dim) -> (N, h, w, dim_att).

    Pooling is a depthwise convolution over the channels of one head, shared by all heads, followed by a norm.
    With ``spec.pool_q`` false, queries are neither pooled nor normalized. The output has the size of the
    pooled queries: h and w are H and W divided by ``spec.stride_q``, rounded up.

    Args:
        spec: hyperparameters of the block.
        **others: keywords of :class:`mvit_det.MViT`: ``pool_kernel`` is its ``qkv_pool_kernel``,
            ``implementation`` its ``attention``.

    Attributes:
        attend: computes the attention. :mod:`mvit_det.export` replaces it on instances.

    Source: MViTv2, arXiv 2112.01526, section 4.1.
    """

    attend = staticmethod(attention)

    def __init__(
        self,
        spec: BlockSpec,
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
        self.num_heads = spec.num_heads
        self.window_size = spec.window_size
        self.stride_q, self.stride_kv = spec.stride_q, spec.stride_kv
        self.residual_pooling = residual_pooling
        head_dim = spec.dim_att // spec.num_heads

        def build_pool(stride: int) -> nn.Conv2d:
            padding = (pool_kernel[0] // 2, pool_kernel[1] // 2)
            return nn.Conv2d(head_dim, head_dim, pool_kernel, stride, padding, groups=head_dim, bias=False)

        self.qkv = nn.Linear(spec.dim, 3 * spec.dim_att, bias=qkv_bias)
        self.proj = nn.Linear(spec.dim_att, spec.dim_att)
        self.pool_q: nn.Conv2d | None = build_pool(spec.stride_q) if spec.pool_q else None
        self.norm_q = norm_layer(head_dim) if spec.pool_q else nn.Identity()
        self.pool_k, self.norm_k = build_pool(spec.stride_kv), norm_layer(head_dim)
        self.pool_v, self.norm_v = build_pool(spec.stride_kv), norm_layer(head_dim)

        self.rel_pos_h: nn.Parameter | None = None
        self.rel_pos_w: nn.Parameter | None = None
        if use_rel_pos:
            stride = min(spec.stride_q, spec.stride_kv)
            table = torch.zeros(2 * (spec.input_size // stride) - 1, head_dim)
            self.rel_pos_h, self.rel_pos_w = nn.Parameter(table), nn.Parameter(table.clone())
            if not rel_pos_zero_init:
                nn.init.trunc_normal_(self.rel_pos_h, std=0.02)
                nn.init.trunc_normal_(self.rel_pos_w, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_linear(self.qkv, x, 3)  # each (N, H, W, dim_att)
        q = self.pool(q, self.pool_q, self.norm_q)  # (N, q_h, q_w, heads, C)
        k = self.pool(k, self.pool_k, self.norm_k)  # (N, kv_h, kv_w, heads, C)
        v = self.pool(v, self.pool_v, self.norm_v)

        q_window, kv_window = self.window_sizes((q.shape[1], q.shape[2]), (k.shape[1], k.shape[2]))
        x = self.attend(
            q,
            k,
            v,
            self.rel_pos(q_window, kv_window),
            q_window,
            kv_window,
            residual=self.residual_pooling,
            implementation=self.implementation,
        )  # (N, q_h, q_w, heads, C), with the residual pooling connection
        return linear(self.proj, x.flatten(3))

    def pool(self, x: Tensor, conv: nn.Module | None, norm: nn.Module) -> Tensor:
        """Pool and normalize each head separately: (N, H, W, dim_att) -> (N, h, w, heads, C)."""
        x = x.unflatten(-1, (self.num_heads, -1))
        return normalize(norm, x) if conv is None else pool_and_normalize(x, conv, norm)

    def window_sizes(
        self, q_hw: tuple[int, int], kv_hw: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the window sizes of queries and of keys, tokens; in global attention, the whole map."""
        if self.window_size == 0:
            return q_hw, kv_hw
        q_size, kv_size = self.window_size // self.stride_q, self.window_size // self.stride_kv
        return (q_size, q_size), (kv_size, kv_size)

    def rel_pos(self, q_window: tuple[int, int], kv_window: tuple[int, int]) -> RelPos | None:
        """Return the embeddings of the distances within a window, or None without relative positions."""
        if self.rel_pos_h is None or self.rel_pos_w is None:
            return None
        return RelPos(
            relative_positions(self.rel_pos_h, q_window[0], kv_window[0]),
            relative_positions(self.rel_pos_w, q_window[1], kv_window[1]),
        )
