"""MViT as an image classifier, which is how it is pretrained."""

from typing import Any

import torch
from torch import Tensor, nn

from mvit_det.backbone.abs_pos import absolute_positions
from mvit_det.backbone.class_token import ClassTokenBlock
from mvit_det.backbone.mvit import MViT, init_weights, variant_keywords
from mvit_det.ops.checkpointing import checkpoint_module


class _ClassTokenMViT(MViT):
    block_class = ClassTokenBlock


class MViTClassifier(nn.Module):
    """MViT with global attention, followed by a linear classifier, for images of any size from 32 x 32 px.

    Parameter names are those of the published classifiers, except ``head``, which they call
    ``head.projection``.

    Args:
        num_classes: number of classes.
        class_token: whether to classify from a class token instead of the mean over the map. The table of
            absolute positions then begins with the position of this token.
        dropout: dropout rate of the input of ``head``.
        **keywords: keywords of :class:`MViT`, except ``adaptive_window_size``, ``double_global_kv_stride``,
            ``out_features`` and ``pretrain_use_cls_token``, which this class sets.

    Source: MViTv2, arXiv 2112.01526, sections 5.1 and B.1; MViT, arXiv 2104.11227, for the class token.
    """

    def __init__(
        self, num_classes: int = 1000, *, class_token: bool = False, dropout: float = 0.0, **keywords: Any
    ) -> None:
        super().__init__()
        # Use the submodules of the backbone directly: the published parameter names have no prefix.
        backbone = (_ClassTokenMViT if class_token else MViT)(
            adaptive_window_size=0,
            double_global_kv_stride=False,
            out_features=("scale5",),
            pretrain_use_cls_token=class_token,
            **keywords,
        )
        self.recompute = backbone.recompute
        self.patch_embed = backbone.patch_embed
        self.pos_embed = backbone.pos_embed
        self.blocks = backbone.blocks
        self.norm = backbone.get_submodule("scale5_norm")
        width = backbone.out_channels["scale5"]
        self.cls_token: nn.Parameter | None = None
        if class_token:
            token = torch.zeros(1, 1, backbone.patch_embed.proj.out_channels)
            self.cls_token = nn.Parameter(nn.init.trunc_normal_(token, std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)
        self.head.apply(init_weights)

    def forward(self, images: Tensor) -> Tensor:
        """Return the score of each class, before the softmax.

        Args:
            images: (N, in_chans, H, W), H and W of at least 32 px.

        Returns:
            (N, num_classes)

        Raises:
            ValueError: if ``images`` has no batch axis, or a side is below 32 px.
        """
        x = self.patch_embed(images)  # (N, h, w, C)
        if self.pos_embed is not None:
            map_hw = (x.shape[1], x.shape[2])
            x = x + absolute_positions(self.pos_embed, map_hw, self.cls_token is not None)
        x = self.mean_features(x) if self.cls_token is None else self.class_token_features(self.cls_token, x)
        return self.head(self.dropout(x))

    def mean_features(self, x: Tensor) -> Tensor:
        """Return the mean over the map after all blocks and the norm: (N, h, w, C) -> (N, dim_out)."""
        for block in self.blocks:
            x = checkpoint_module(block, x) if self.recompute == "block" else block(x)
        return self.norm(x).mean((1, 2))

    def class_token_features(self, token: Tensor, x: Tensor) -> Tensor:
        """Return the class token after all blocks and the norm: (N, h, w, C) -> (N, dim_out)."""
        map_hw = (x.shape[1], x.shape[2])
        if self.pos_embed is not None:
            token = token + self.pos_embed[:, :1]
        x = torch.cat([token.expand(x.shape[0], -1, -1), x.flatten(1, 2)], dim=1)  # (N, 1 + h * w, C)
        for block in self.blocks:
            x, map_hw = checkpoint_module(block, x, map_hw) if self.recompute == "block" else block(x, map_hw)
        return self.norm(x[:, 0])


def build_classifier(
    name: str, num_classes: int = 1000, *, class_token: bool | None = None, **overrides: Any
) -> MViTClassifier:
    """Build a variant as a classifier by its name; ``overrides`` are keywords of :class:`MViTClassifier`.

    The stochastic depth rate is that of the detectors unless ``drop_path_rate`` is given. The published
    classifiers were trained with 0.1 (T, S), 0.3 (B), 0.5 (L) and 0.8 (H).

    Args:
        name: name in :data:`mvit_det.VARIANTS`. The published MViTv2-L of ImageNet-1K needs
            ``dim_mul_in_att=False``.
        num_classes: number of classes.
        class_token: see :class:`MViTClassifier`. None follows the ImageNet-1K classifiers: a class
            token in MViTv1, none in MViTv2. The ImageNet-21K classifiers have one.

    Raises:
        InputError: if the name is unknown; the message suggests the nearest one.

    Source: MViTv2, arXiv 2112.01526, section B.2.
    """
    keywords = variant_keywords(name)
    del keywords["double_global_kv_stride"]  # MViTClassifier sets it
    # MViTv1, which has absolute positions, classifies from a class token.
    has_token = keywords["use_abs_pos"] if class_token is None else class_token
    return MViTClassifier(num_classes, class_token=has_token, **keywords | overrides)
