"""The MViT backbone, which returns the feature maps of its four stages."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mvit_det.backbone.abs_pos import absolute_positions
from mvit_det.backbone.block import MultiScaleBlock
from mvit_det.backbone.block_spec import block_specs
from mvit_det.backbone.patch_embed import PatchEmbed
from mvit_det.backbone.variants import RECOMPUTE, VARIANTS
from mvit_det.errors import unknown_name
from mvit_det.ops.attention import IMPLEMENTATIONS
from mvit_det.ops.checkpointing import checkpoint_module
from mvit_det.ops.norm import normalize

STAGE_NAMES = ("scale2", "scale3", "scale4", "scale5")


class MViT(nn.Module):
    """MViT backbone with hybrid window attention, for images of any size from 32 x 32 px.

    Keywords, defaults and parameter names are those of ``detectron2.modeling.MViT``. ``recompute`` and
    the keywords after it are extensions.

    Args:
        img_size: side of the square pretraining images, px. It sets the length of the relative position
            tables.
        patch_kernel: kernel size of the patch embedding, px.
        patch_stride: stride of the patch embedding, px.
        patch_padding: padding of the patch embedding, px.
        in_chans: number of channels of an image.
        embed_dim: width of the first stage; it doubles with each stage.
        depth: number of blocks.
        num_heads: number of heads in the first stage; it doubles with each stage.
        last_block_indexes: index of the last block of each of the four stages.
        qkv_pool_kernel: kernel size of the pooling of queries, keys and values, tokens; odd.
        adaptive_kv_stride: pooling stride of keys and values in the first stage, tokens; it halves with each
            stage, down to 1.
        adaptive_window_size: side of a window in the first stage, tokens; it halves with each stage, rounded
            down. The first block of a stage uses the window of the previous stage. With 0, every block
            attends globally.
        residual_pooling: whether to add the pooled queries to the output of the attention.
        mlp_ratio: hidden width of an MLP divided by its input width.
        qkv_bias: whether the projection to queries, keys and values has a bias.
        drop_path_rate: stochastic depth rate of the last block; it rises linearly from 0 at the first block.
        norm_layer: callable that takes a width and returns a norm over the last axis.
        act_layer: callable that returns the activation of an MLP.
        use_abs_pos: whether to add absolute positions, resized bicubically to the map.
        use_rel_pos: whether to add decomposed relative positions to the attention scores.
        rel_pos_zero_init: whether to initialize relative positions with zeros instead of randomly.
        use_act_checkpoint: shorthand for ``recompute="block"``; it overrides ``recompute``.
        pretrain_img_size: side of the square pretraining images of the table of absolute positions, px.
        pretrain_use_cls_token: whether the table of absolute positions begins with the position of a
            class token.
        out_features: stages to return, from ``"scale2"`` to ``"scale5"``. Each returned stage has its own
            norm.
        recompute: which activations the backward pass recomputes to save memory. ``"none"``: only what the
            fused kernels recompute anyway; ``"cheap"``: also the outputs of LayerNorm and activation
            functions that linear layers read; ``"block"``: everything inside a block.
        attention: implementation of the attention: ``"auto"`` for the fastest that can run, or one of
            ``"reference"``, ``"matmul"``, ``"sdpa"``, ``"tiled"``, ``"native"``, ``"triton"``; see
            :mod:`mvit_det.ops.attention`.
        dim_mul_in_att: whether the width doubles in the attention of a stage's first block, or, as in MViTv1,
            in the MLP of the last block of the previous stage. With False, the outputs of the first three
            stages already have the doubled width.
        double_global_kv_stride: whether the last blocks of stages 2 and 3, which attend globally, double
            their stage's pooling stride of keys and values.
        pool_unstrided_queries: whether queries are pooled and normalized even where their stride is 1. MViTv1
            does not.

    Attributes:
        out_channels: name of each output -> number of channels.
        out_strides: name of each output -> stride, px.

    Raises:
        ValueError: if ``out_features``, ``recompute`` or ``attention`` has an unknown name, or if numbers do
            not fit together (see :func:`mvit_det.backbone.block_spec.block_specs`).

    Source: MViTv2, arXiv 2112.01526.
    """

    block_class: type[MultiScaleBlock] = MultiScaleBlock

    def __init__(
        self,
        img_size: int = 224,
        patch_kernel: tuple[int, int] = (7, 7),
        patch_stride: tuple[int, int] = (4, 4),
        patch_padding: tuple[int, int] = (3, 3),
        in_chans: int = 3,
        embed_dim: int = 96,
        depth: int = 16,
        num_heads: int = 1,
        last_block_indexes: Sequence[int] = (0, 2, 11, 15),
        qkv_pool_kernel: tuple[int, int] = (3, 3),
        adaptive_kv_stride: int = 4,
        adaptive_window_size: int = 56,
        residual_pooling: bool = True,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        act_layer: Callable[[], nn.Module] = nn.GELU,
        use_abs_pos: bool = False,
        use_rel_pos: bool = True,
        rel_pos_zero_init: bool = True,
        use_act_checkpoint: bool = False,
        pretrain_img_size: int = 224,
        pretrain_use_cls_token: bool = True,
        out_features: Sequence[str] = STAGE_NAMES,
        recompute: str = "none",
        attention: str = "auto",
        dim_mul_in_att: bool = True,
        double_global_kv_stride: bool = True,
        pool_unstrided_queries: bool = True,
    ) -> None:
        super().__init__()
        if recompute not in RECOMPUTE:
            raise unknown_name("recompute", recompute, RECOMPUTE)
        if attention not in ("auto", *IMPLEMENTATIONS):
            raise unknown_name("attention", attention, ("auto", *IMPLEMENTATIONS))
        if not out_features or isinstance(out_features, str):
            raise ValueError(f"out_features {out_features!r}: expected names from {STAGE_NAMES}")
        for name in out_features:
            if name not in STAGE_NAMES:
                raise unknown_name("output in out_features", name, STAGE_NAMES)
        specs = block_specs(
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            last_block_indexes=last_block_indexes,
            adaptive_kv_stride=adaptive_kv_stride,
            adaptive_window_size=adaptive_window_size,
            input_size=img_size // patch_stride[0],
            drop_path_rate=drop_path_rate,
            dim_mul_in_att=dim_mul_in_att,
            double_global_kv_stride=double_global_kv_stride,
            pool_unstrided_queries=pool_unstrided_queries,
        )
        self.recompute = "block" if use_act_checkpoint else recompute
        self.pretrain_use_cls_token = pretrain_use_cls_token

        self.patch_embed = PatchEmbed(patch_kernel, patch_stride, patch_padding, in_chans, embed_dim)
        self.pos_embed: nn.Parameter | None = None
        if use_abs_pos:
            rows, columns = (pretrain_img_size // stride for stride in patch_stride)
            positions = torch.zeros(1, rows * columns + pretrain_use_cls_token, embed_dim)
            self.pos_embed = nn.Parameter(nn.init.trunc_normal_(positions, std=0.02))
        self.blocks = nn.ModuleList(
            self.block_class(
                spec,
                pool_kernel=qkv_pool_kernel,
                residual_pooling=residual_pooling,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                norm_layer=norm_layer,
                act_layer=act_layer,
                use_rel_pos=use_rel_pos,
                rel_pos_zero_init=rel_pos_zero_init,
                implementation=attention,
                recompute=self.recompute == "cheap",
            )
            for spec in specs
        )
        self.out_channels: dict[str, int] = {}
        self.out_strides: dict[str, int] = {}
        self._output_names: dict[int, str] = {}  # index of the last block of a stage -> name
        for stage, (name, index) in enumerate(zip(STAGE_NAMES, last_block_indexes, strict=True)):
            if name in out_features:
                self.out_channels[name] = specs[index].dim_out
                self.out_strides[name] = patch_stride[0] * 2**stage
                self._output_names[index] = name
                self.add_module(f"{name}_norm", norm_layer(specs[index].dim_out))
        self.apply(init_weights)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stages in ``out_features``.

        Args:
            images: (N, in_chans, H, W), H and W of at least 32 px.

        Returns:
            name -> (N, C, h, w), where h and w are H and W divided by the stage's stride, rounded up. Under
            autocast, outputs have the dtype that the norm returns: float32 from PyTorch's LayerNorm on a GPU,
            the autocast dtype from the Triton kernel.

        Raises:
            ValueError: if ``images`` has no batch axis, or a side is below 32 px.
        """
        x = self.patch_embed(images)  # (N, h, w, C)
        if self.pos_embed is not None:
            map_hw = (x.shape[1], x.shape[2])
            x = x + absolute_positions(self.pos_embed, map_hw, self.pretrain_use_cls_token)

        outputs = {}
        for index, block in enumerate(self.blocks):
            x = checkpoint_module(block, x) if self.recompute == "block" else block(x)
            if index in self._output_names:
                name = self._output_names[index]
                outputs[name] = normalize(self.get_submodule(f"{name}_norm"), x).permute(0, 3, 1, 2)
        return outputs


def init_weights(module: nn.Module) -> None:
    """Initialize a linear layer as in the published models. Pass it to :meth:`torch.nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def variant_keywords(name: str) -> dict[str, Any]:
    """Return the keywords of :class:`MViT` that build a variant.

    Raises:
        InputError: if the name is unknown; the message suggests the nearest one.
    """
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    return VARIANTS[name].keywords() | {"norm_layer": partial(nn.LayerNorm, eps=1e-6)}


def build_mvit(name: str, **overrides: Any) -> MViT:
    """Build a variant by its name; ``overrides`` are keywords of :class:`MViT`.

    Raises:
        InputError: if the name is unknown; the message suggests the nearest one.
    """
    return MViT(**variant_keywords(name) | overrides)
