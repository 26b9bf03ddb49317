"""The table of variants, and the pure function that turns one into per-block numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

RECOMPUTE = ("none", "cheap", "block")


@dataclass(frozen=True)
class Variant:
    """What sets one MViT apart from another.

    Attributes:
        depths: number of blocks in each stage.
        embed_dim: channels of the first stage; they double with each stage.
        num_heads: heads of the first stage; they double with each stage.
        drop_path_rate: stochastic depth of the last block.

    The other fields are keywords of :class:`mvit_det.MViT`.

    Source: MViTv2, arXiv 2112.01526, Table 1 and section 5; the stochastic depth rates are those of the
    released detectors. No MViTv1 was released for detection: its rates are those of section B.3 for the
    MViTv2 of the same size, and its global blocks keep their stage's stride because that gives the
    multiply-adds of Table 4 (326, 373 and 438 G).
    """

    depths: tuple[int, int, int, int]
    embed_dim: int = 96
    num_heads: int = 1
    drop_path_rate: float = 0.0
    dim_mul_in_att: bool = True
    double_global_kv_stride: bool = True
    residual_pooling: bool = True
    pool_unstrided_queries: bool = True
    use_abs_pos: bool = False
    use_rel_pos: bool = True

    @property
    def last_block_indexes(self) -> tuple[int, ...]:
        """The index of the last block of each stage."""
        return tuple(total - 1 for total in accumulate(self.depths))

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of :class:`mvit_det.MViT` that build this variant, without the norm."""
        keywords = asdict(self)
        depths = keywords.pop("depths")
        return {"depth": sum(depths), "last_block_indexes": self.last_block_indexes} | keywords


_MVITV1 = {
    "dim_mul_in_att": False,
    "double_global_kv_stride": False,
    "residual_pooling": False,
    "pool_unstrided_queries": False,
    "use_abs_pos": True,
    "use_rel_pos": False,
}

VARIANTS: dict[str, Variant] = {
    # Ours, small enough to train on a CPU.
    "mvitv2_nano": Variant((1, 2, 2, 1), embed_dim=32),
    "mvitv2_t": Variant((1, 2, 5, 2), drop_path_rate=0.2),
    "mvitv2_s": Variant((1, 2, 11, 2), drop_path_rate=0.2),
    "mvitv2_b": Variant((2, 3, 16, 3), drop_path_rate=0.4),
    "mvitv2_l": Variant((2, 6, 36, 4), embed_dim=144, num_heads=2, drop_path_rate=0.5),
    "mvitv2_h": Variant((4, 8, 60, 8), embed_dim=192, num_heads=3, drop_path_rate=0.6),
    "mvitv1_t": Variant((1, 2, 5, 2), drop_path_rate=0.1, **_MVITV1),
    "mvitv1_s": Variant((1, 2, 11, 2), drop_path_rate=0.3, **_MVITV1),
    "mvitv1_b": Variant((2, 3, 16, 3), drop_path_rate=0.4, **_MVITV1),
}


@dataclass(frozen=True)
class BlockSpec:
    """The numbers of one block; sizes are in tokens."""

    dim: int
    dim_att: int  # width of the attention, and so of what the MLP is given
    dim_out: int
    num_heads: int
    pool_q: bool
    stride_q: int
    stride_kv: int
    window_size: int  # side of a window before pooling; 0 attends globally
    input_size: int  # side of the map that comes in at the pretraining size
    drop_path: float


def block_schedule(
    *,
    embed_dim: int,
    depth: int,
    num_heads: int,
    last_block_indexes: Sequence[int],
    kv_stride: int,
    window_size: int,
    input_size: int,
    drop_path_rate: float,
    dim_mul_in_att: bool,
    double_global_kv_stride: bool,
    pool_unstrided_queries: bool,
) -> list[BlockSpec]:
    """Return one :class:`BlockSpec` per block.

    Heads double in the first block of stages 2 to 4, which also halves the map; until then that
    block sees the map and the window of the stage before. The width doubles there too, in the
    attention, or else in the MLP of the block before. The last blocks of stages 2 to 4 attend
    globally, those of stages 2 and 3 with twice the stride on keys and values if
    ``double_global_kv_stride``. With a ``window_size`` of 0 every block attends globally.

    Raises:
        ValueError: if ``last_block_indexes`` are not four rising indexes that end at
            ``depth - 1``, if the heads do not divide the width, or if a window is not a whole
            number of pooled tokens.

    Source: MViTv2 paper, sections 4.1 (hybrid window attention), 4.2 and B.1 (where width doubles).
    """
    last = tuple(last_block_indexes)
    if len(last) != 4 or list(last) != sorted(set(last)) or last[0] < 0 or last[-1] != depth - 1:
        raise ValueError(
            f"last_block_indexes {last}: expected four rising block indexes of which the last "
            f"is depth - 1 = {depth - 1}"
        )
    if num_heads < 1 or embed_dim % num_heads:
        raise ValueError(f"embed_dim {embed_dim}: must be a multiple of num_heads, {num_heads}")
    if kv_stride < 1:
        raise ValueError(f"adaptive_kv_stride {kv_stride}: must be at least 1")

    blocks: list[BlockSpec] = []
    for index in range(depth):
        stage = sum(index > end for end in last)
        is_first = index - 1 in last
        stage_in = stage - is_first  # the stage whose map comes in
        doubles_kv = double_global_kv_stride and index in last[1:3]
        dim = blocks[-1].dim_out if blocks else embed_dim
        dim_att = dim * 2 if is_first and dim_mul_in_att else dim
        block = BlockSpec(
            dim=dim,
            dim_att=dim_att,
            dim_out=dim_att * 2 if index in last[:3] and not dim_mul_in_att else dim_att,
            num_heads=num_heads * 2**stage,
            pool_q=is_first or pool_unstrided_queries,
            stride_q=2 if is_first else 1,
            stride_kv=max(kv_stride // 2**stage, 1) * (2 if doubles_kv else 1),
            window_size=0 if index in last[1:] else window_size // 2**stage_in,
            input_size=input_size // 2**stage_in,
            drop_path=drop_path_rate * index / max(depth - 1, 1),
        )
        for stride in (block.stride_q, block.stride_kv):
            if block.window_size % stride:
                raise ValueError(
                    f"adaptive_window_size {window_size}: block {index} has a window of "
                    f"{block.window_size} tokens, which its pooling stride {stride} does not divide"
                )
        blocks.append(block)
    return blocks
