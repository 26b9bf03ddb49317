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

    In the branch that changes the width, the shortcut is a linear layer on the normalized input. Where
    queries are pooled with a stride, the shortcut of the attention is max-pooled.

    Args:
        spec: hyperparameters of the block.
        mlp_ratio, norm_layer, act_layer: keywords of :class:`mvit_det.MViT`.
        recompute: whether the backward pass recomputes the outputs of norms and activation functions.
        **attention_options: keywords of :class:`MultiScaleAttention`.

    Source: MViTv2, arXiv 2112.01526, sections 4.1 and B.1; MViT, arXiv 2104.11227.
    """

    attention_class: type[MultiScaleAttention] = MultiScaleAttention

    def __init__(
        self,
        spec: BlockSpec,
        *,
        mlp_ratio: float,
        norm_layer: Callable[[int], nn.Module],
        act_layer: Callable[[], nn.Module],
        recompute: bool,
        **attention_options: Any,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.hidden_dim = int(spec.dim_att * mlp_ratio)
        self.norm1 = norm_layer(spec.dim)
        self.attn = self.attention_class(spec, norm_layer=norm_layer, **attention_options)
        self.drop_path = DropPath(spec.drop_path)
        self.norm2 = norm_layer(spec.dim_att)
        self.mlp = Mlp(spec.dim_att, self.hidden_dim, spec.dim_out, act_layer, recompute)
        self.proj = nn.Linear(spec.dim, spec.dim_out) if spec.dim != spec.dim_out else None
        self.widens_in_attention = spec.dim != spec.dim_att
        self.widens_in_mlp = spec.dim_att != spec.dim_out
        stride = spec.stride_q
        self.pool_skip = nn.MaxPool2d(stride + 1, stride, (stride + 1) // 2) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, H, W, dim) -> (N, h, w, dim_out)."""
        normed = normalize(self.norm1, x, self.recompute)
        shortcut = self.project_shortcut(x, normed, self.widens_in_attention)  # (N, H, W, dim_att)
        x = self.pool_shortcut(shortcut) + self.drop_path(self.attn(normed))  # (N, h, w, dim_att)
        if self.training:  # stochastic depth drops the branch of whole images, so chunks would be wrong
            return self.add_mlp(x)
        # On a CPU, chunks of the map keep the hidden layer of the MLP in the cache.
        return in_chunks(self.add_mlp, x, self.hidden_dim, self.modules())

    def add_mlp(self, x: Tensor) -> Tensor:
        """Apply the MLP with its shortcut: (..., dim_att) -> (..., dim_out)."""
        normed = normalize(self.norm2, x, self.recompute)
        shortcut = self.project_shortcut(x, normed, self.widens_in_mlp)
        return shortcut + self.drop_path(self.mlp(normed))

    def project_shortcut(self, x: Tensor, normed: Tensor, widens: bool) -> Tensor:
        """Return ``x``, or a linear layer on ``normed`` for a branch that widens: (..., dim) -> (..., D)."""
        return linear(self.proj, normed) if self.proj is not None and widens else x

    def pool_shortcut(self, x: Tensor) -> Tensor:
        """Max-pool the shortcut with the stride of the queries: (N, H, W, C) -> (N, h, w, C)."""
        if self.pool_skip is None:
            return x
        return self.pool_skip(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
