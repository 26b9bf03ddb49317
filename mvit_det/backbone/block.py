"""The transformer block of MViT."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.backbone.block_spec import BlockSpec
from mvit_det.backbone.drop_path import DropPath
from mvit_det.backbone.mlp import Mlp
from mvit_det.ops.chunking import in_chunks
from mvit_det.ops.linear import linear
from mvit_det.ops.norm import normalize


class MultiScaleBlock(nn.Module):
    """Pooling attention and an MLP, each with a shortcut: (N, H, W, dim) -> (N, h, w, dim_out).

    Where the width changes, in the attention or in the MLP, the shortcut is a linear layer on the normalized
    input. Where queries are pooled with a stride, the shortcut of the attention is max-pooled.

    Source: MViTv2, arXiv 2112.01526, sections 4.1 and B.1; MViT, arXiv 2104.11227.
    """

    attention_class: type[MultiScaleAttention] = MultiScaleAttention

    def __init__(
        self,
        block: BlockSpec,
        *,
        mlp_ratio: float,
        norm_layer: Callable[[int], nn.Module],
        act_layer: Callable[[], nn.Module],
        recompute: bool,
        **attention_options: Any,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.hidden_dim = int(block.dim_att * mlp_ratio)
        self.norm1 = norm_layer(block.dim)
        self.attn = self.attention_class(block, norm_layer=norm_layer, **attention_options)
        self.drop_path = DropPath(block.drop_path)
        self.norm2 = norm_layer(block.dim_att)
        self.mlp = Mlp(block.dim_att, self.hidden_dim, block.dim_out, act_layer, recompute)
        self.proj = nn.Linear(block.dim, block.dim_out) if block.dim != block.dim_out else None
        self.widens_in_attention = block.dim != block.dim_att
        stride = block.stride_q
        self.pool_skip = nn.MaxPool2d(stride + 1, stride, (stride + 1) // 2) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        normed = normalize(self.norm1, x, self.recompute)
        shortcut = x if self.proj is None or not self.widens_in_attention else linear(self.proj, normed)
        x = self.pool_shortcut(shortcut) + self.drop_path(self.attn(normed))
        if self.training:  # stochastic depth drops whole images
            return self.add_mlp(x)
        return in_chunks(self.add_mlp, x, self.hidden_dim, self.modules())

    def add_mlp(self, x: Tensor) -> Tensor:
        """Add the MLP to its shortcut: (..., dim_att) -> (..., dim_out)."""
        normed = normalize(self.norm2, x, self.recompute)
        shortcut = x if self.proj is None or self.widens_in_attention else linear(self.proj, normed)
        return shortcut + self.drop_path(self.mlp(normed))

    def pool_shortcut(self, x: Tensor) -> Tensor:
        """Max-pool the shortcut with the stride of the queries: (N, H, W, C) -> (N, h, w, C)."""
        if self.pool_skip is None:
            return x
        return self.pool_skip(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
