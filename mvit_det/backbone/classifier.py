"""MViT as an image classifier, the form in which it is pretrained."""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from mvit_det.backbone.abs_pos import absolute_positions
from mvit_det.backbone.block import MultiScaleBlock
from mvit_det.backbone.class_token import run_with_class_token
from mvit_det.backbone.mvit import MViT, init_weights, variant_keywords
from mvit_det.ops.checkpointing import recomputed


class MViTClassifier(nn.Module):
    """MViT without windows under one linear layer: images of any size from 32 x 32 px to class scores.

    Its parameters have the names of the published classifiers, but for ``head``, which is their
    ``head.projection``.

    Args:
        num_classes: number of classes.
        class_token: whether the scores are those of a token beside the map, or else of the mean over the
            map. Absolute positions then begin with one for this token.
        dropout: share of what is given to ``head`` that is dropped in training.
        **keywords: those of :class:`MViT`, but for ``adaptive_window_size``, ``double_global_kv_stride``,
            ``out_features`` and ``pretrain_use_cls_token``, which follow.

    Source: MViTv2, arXiv 2112.01526, sections 5.1 and B.1; MViT, arXiv 2104.11227, for the class token.
    """

    def __init__(
        self, num_classes: int = 1000, *, class_token: bool = False, dropout: float = 0.0, **keywords: Any
    ) -> None:
        super().__init__()
        # Not a module of its own: its parts have no prefix in the published names.
        backbone = MViT(
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
        """Return the score of each class before softmax.

        Args:
            images: (N, in_chans, H, W), H and W of at least 32 px.

        Returns:
            (N, num_classes)

        Raises:
            ValueError: if there is no batch axis, or an image has a side below 32 px.
        """
        x = self.patch_embed(images)
        map_hw = (x.shape[1], x.shape[2])
        if self.pos_embed is not None:
            x = x + absolute_positions(self.pos_embed, map_hw, self.cls_token is not None)
        found = self._mean_of_map(x) if self.cls_token is None else self._class_token(self.cls_token, x)
        return self.head(self.dropout(found))

    def _mean_of_map(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = recomputed(block, x) if self.recompute == "block" else block(x)
        return self.norm(x).mean((1, 2))

    def _class_token(self, token: Tensor, x: Tensor) -> Tensor:
        map_hw = (x.shape[1], x.shape[2])
        if self.pos_embed is not None:
            token = token + self.pos_embed[:, :1]
        x = torch.cat([token.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)  # (N, 1 + H * W, C)
        for block in self.blocks:
            run = partial(run_with_class_token, cast(MultiScaleBlock, block))
            x, map_hw = recomputed(run, x, map_hw) if self.recompute == "block" else run(x, map_hw)
        return self.norm(x[:, 0])


def build_classifier(
    name: str, num_classes: int = 1000, *, class_token: bool | None = None, **overrides: Any
) -> MViTClassifier:
    """Build a variant as a classifier by its name; ``overrides`` are keywords of :class:`MViTClassifier`.

    Stochastic depth is that of the detectors unless ``drop_path_rate`` is given. The published classifiers
    were trained with 0.1 (T, S), 0.3 (B), 0.5 (L) and 0.8 (H).

    Args:
        name: name in :data:`mvit_det.VARIANTS`. The published MViTv2-L of ImageNet-1K has
            ``dim_mul_in_att=False``.
        num_classes: number of classes.
        class_token: see :class:`MViTClassifier`. None is what ImageNet-1K's have: MViTv1 one, MViTv2 none.
            Those of ImageNet-21K have one.

    Raises:
        ValueError: if no variant has that name; the message gives the nearest.

    Source: MViTv2 paper, section B.2.
    """
    keywords = variant_keywords(name)
    has_token = keywords["use_abs_pos"] if class_token is None else class_token
    del keywords["double_global_kv_stride"]  # of detectors
    return MViTClassifier(num_classes, class_token=has_token, **keywords | overrides)
