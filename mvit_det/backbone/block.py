"""The block of MViT."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.backbone.drop_path import DropPath
from mvit_det.backbone.mlp import Mlp
from mvit_det.backbone.variants import BlockSpec
from mvit_det.ops.checkpointing import Layer, linears
from mvit_det.ops.chunking import affine, by_rows


class MultiScaleBlock(nn.Module):
    """Pooling attention and an MLP, each on a residual path: (N, H, W, dim) -> (N, h, w, dim_out).

    Where the width changes, be it in the attention or in the MLP, that part's skip path is a projection
    of the normalised input; where the map shrinks, that of the attention is max-pooled.
    Source: MViTv2 paper, sections 4.1 and B.1, and MViT, arXiv 2104.11227.
    """

    def __init__(
        self,
        block: BlockSpec,
        *,
        mlp_ratio: float,
        norm_layer: Callable[[int], nn.Module],
        act_layer: Callable[[], nn.Module],
        recompute: bool,
        **attention: Any,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.norm1 = norm_layer(block.dim)
        self.attn = MultiScaleAttention(block, norm_layer=norm_layer, **attention)
        self.drop_path = DropPath(block.drop_path)
        self.norm2 = norm_layer(block.dim_att)
        self.mlp = Mlp(block.dim_att, int(block.dim_att * mlp_ratio), block.dim_out, act_layer, recompute)
        self.proj = nn.Linear(block.dim, block.dim_out) if block.dim != block.dim_out else None
        self.proj_in_att = block.dim_att == block.dim_out
        stride = block.stride_q
        self.pool_skip = nn.MaxPool2d(stride + 1, stride, (stride + 1) // 2) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v, skip = self.project(x)
        return self.add(self.pool(skip), self.attn(q, k, v))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return queries, keys, values and the skip path of tokens (..., dim)."""
        layers = [*self.attn.qkv_layers(), *self._skip_layers(in_att=True)]
        q, k, v, *projected = linears(self.norm1, x, *layers, recompute=self.recompute)
        return q, k, v, projected[0] if projected else x

    def pool(self, skip: Tensor) -> Tensor:
        """Pool the skip path, a map (N, H, W, C), as queries are."""
        if self.pool_skip is None:
            return skip
        return self.pool_skip(skip.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def add(self, skip: Tensor, attended: Tensor) -> Tensor:
        """Return the block's output, from the skip path and what the heads give, both (N, ..., dim_att)."""
        out = affine(attended, self.attn.proj.weight, self.attn.proj.bias)
        x = skip + self.drop_path(out)
        if self.training:  # stochastic depth drops images, which parts of them would not show
            return self._add_mlp(x)
        return by_rows(self._add_mlp, self.mlp.fc1.out_features, x)

    def _add_mlp(self, x: Tensor) -> Tensor:
        out, *projected = self.mlp(x, self.norm2, *self._skip_layers(in_att=False))
        return (projected[0] if projected else x) + self.drop_path(out)

    def _skip_layers(self, in_att: bool) -> list[Layer]:
        """Return the projection of the skip path where it is that of the attention, or of the MLP."""
        return (
            [(self.proj.weight, self.proj.bias)]
            if self.proj is not None and in_att == self.proj_in_att
            else []
        )
