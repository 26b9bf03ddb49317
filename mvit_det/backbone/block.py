"""The block of MViT."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.backbone.layers import DropPath, Mlp
from mvit_det.backbone.recompute import linears
from mvit_det.backbone.rows import affine, by_rows
from mvit_det.backbone.variants import BlockSpec


class MultiScaleBlock(nn.Module):
    """Pooling attention and an MLP, each on a residual path: (N, H, W, dim) -> (N, h, w, dim_out).

    Where the width changes, the skip path is a projection of the normalised input; where the map
    shrinks, it is max-pooled. Source: MViTv2 paper, section 4.1, and MViT, arXiv 2104.11227.
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
        self.norm2 = norm_layer(block.dim_out)
        self.mlp = Mlp(block.dim_out, int(block.dim_out * mlp_ratio), act_layer, recompute)
        self.proj = nn.Linear(block.dim, block.dim_out) if block.dim != block.dim_out else None
        stride = block.stride_q
        self.pool_skip = nn.MaxPool2d(stride + 1, stride, (stride + 1) // 2) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v, *projected = self._project(x)
        skip = projected[0] if projected else x
        if self.pool_skip is not None:
            skip = self.pool_skip(skip.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out = affine(self.attn(q, k, v), self.attn.proj.weight, self.attn.proj.bias)
        x = skip + self.drop_path(out)
        if self.training:  # stochastic depth drops images, which parts of them would not show
            return self._add_mlp(x)
        return by_rows(self._add_mlp, self.mlp.fc1.out_features, x)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys, values and, where the width changes, the skip path."""
        layers = self.attn.qkv_layers()
        if self.proj is not None:
            layers.append((self.proj.weight, self.proj.bias))
        return linears(self.norm1, x, *layers, recompute=self.recompute)

    def _add_mlp(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.mlp(x, self.norm2))
