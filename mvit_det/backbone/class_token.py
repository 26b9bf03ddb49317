"""Blocks that process a class token along with the map, for the published classifiers that have one.

The class token is normalized like the other tokens, but not pooled. It takes part in the attention as a
query, key and value, without relative positions and without residual pooling.

Source: MViT, arXiv 2104.11227, section 3, and the released classifiers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.backbone.block import MultiScaleBlock
from mvit_det.ops.autocast import cast
from mvit_det.ops.linear import linear, split_linear
from mvit_det.ops.norm import normalize
from mvit_det.ops.relative_bias import RelPos

HW = tuple[int, int]


class ClassTokenAttention(MultiScaleAttention):
    """Global pooling attention with a class token."""

    def forward(self, tokens: Tensor, map_hw: HW) -> tuple[Tensor, HW]:  # type: ignore[override]
        """Attend among the class token and the tokens of a map.

        Args:
            tokens: (N, 1 + H * W, dim), the class token first.
            map_hw: H and W.

        Returns:
            (N, 1 + h * w, dim_att), and h and w.
        """
        assert self.window_size == 0, "a class token requires global attention (window_size 0)"
        q, k, v = split_linear(self.qkv, tokens, 3)  # each (N, 1 + H * W, dim_att)
        q, q_hw = self.pool_tokens(q, map_hw, self.pool_q, self.norm_q)  # (N, 1 + h * w, heads, C)
        k, k_hw = self.pool_tokens(k, map_hw, self.pool_k, self.norm_k)
        v, _ = self.pool_tokens(v, map_hw, self.pool_v, self.norm_v)
        x = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=self.bias(q, q_hw, k_hw)
        ).transpose(1, 2)
        if self.residual_pooling:
            x = torch.cat([x[:, :1], x[:, 1:] + q[:, 1:]], dim=1)
        return linear(self.proj, x.flatten(2)), q_hw

    def pool_tokens(
        self, tokens: Tensor, map_hw: HW, conv: nn.Module | None, norm: nn.Module
    ) -> tuple[Tensor, HW]:
        """Pool the map and normalize all tokens: (N, 1 + H * W, dim_att) -> (N, 1 + h * w, heads, C)."""
        pooled = self.pool(tokens[:, 1:].unflatten(1, map_hw), conv, norm)  # (N, h, w, heads, C)
        class_token = norm(tokens[:, :1].unflatten(-1, (self.num_heads, -1)))
        return cast(torch.cat([class_token, pooled.flatten(1, 2)], dim=1)), (pooled.shape[1], pooled.shape[2])

    def bias(self, q: Tensor, q_hw: HW, k_hw: HW) -> Tensor | None:
        """Return the biases of the scores, (N, heads, 1 + h * w, 1 + keys), 0 for the class token."""
        rel_pos = self.rel_pos(q_hw, k_hw)
        if rel_pos is None:
            return None
        rel_h, rel_w = RelPos(*map(cast, rel_pos))
        q = q[:, 1:].unflatten(1, q_hw)  # (N, h, w, heads, C)
        bias_h = torch.einsum("nhwmc,hkc->nmhwk", q, rel_h)[..., :, None]  # (N, heads, h, w, key rows, 1)
        bias_w = torch.einsum("nhwmc,wkc->nmhwk", q, rel_w)[..., None, :]
        return F.pad((bias_h + bias_w).flatten(4).flatten(2, 3), (1, 0, 1, 0))


class ClassTokenBlock(MultiScaleBlock):
    """A block with global attention and a class token."""

    attention_class = ClassTokenAttention

    def forward(self, tokens: Tensor, map_hw: HW) -> tuple[Tensor, HW]:  # type: ignore[override]
        """Run the block on the class token and the tokens of a map.

        Args:
            tokens: (N, 1 + H * W, dim), the class token first.
            map_hw: H and W.

        Returns:
            (N, 1 + h * w, dim_out), and h and w.
        """
        normed = normalize(self.norm1, tokens, self.recompute)
        shortcut = self.project_shortcut(tokens, normed, self.widens_in_attention)
        pooled = self.pool_shortcut(shortcut[:, 1:].unflatten(1, map_hw)).flatten(1, 2)
        shortcut = torch.cat([shortcut[:, :1], pooled], dim=1)
        attended, map_hw = self.attn(normed, map_hw)
        return self.add_mlp(shortcut + self.drop_path(attended)), map_hw
