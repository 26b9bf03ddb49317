"""The numbers of each block, derived from those of the network."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSpec:
    """The numbers of one block.

    Attributes:
        dim: width of the input.
        dim_att: width of the attention, and so of the input of the MLP.
        dim_out: width of the output.
        num_heads: number of heads.
        pool_q: whether queries are pooled.
        stride_q: stride of the pooling of queries, tokens.
        stride_kv: stride of the pooling of keys and values, tokens.
        window_size: side of a window before pooling, tokens; 0 stands for global attention.
        input_size: side of the input map at the size of pretraining, tokens.
        drop_path: probability of dropping a residual branch.
    """

    dim: int
    dim_att: int
    dim_out: int
    num_heads: int
    pool_q: bool
    stride_q: int
    stride_kv: int
    window_size: int
    input_size: int
    drop_path: float


def block_specs(
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
    """Return the numbers of each block; the keywords are those of :class:`mvit_det.MViT`.

    The first block of stages 2 to 4 pools its queries with stride 2 and doubles the number of heads. Its
    input is the map of the previous stage, and so is its window. The width doubles in the attention of that
    block, or with ``dim_mul_in_att=False`` in the MLP of the block before it. The last blocks of stages 2 to
    4 attend globally; with ``double_global_kv_stride``, those of stages 2 and 3 double the stride of keys and
    values. With a ``window_size`` of 0 every block attends globally.

    Raises:
        ValueError: if ``last_block_indexes`` are not four increasing indexes that end with ``depth - 1``, if
            ``num_heads`` does not divide ``embed_dim``, or if a pooling stride does not divide a window.

    Source: MViTv2, arXiv 2112.01526, sections 4.1 (hybrid window attention), 4.2 and B.1 (widths).
    """
    last = tuple(last_block_indexes)
    if len(last) != 4 or list(last) != sorted(set(last)) or last[0] < 0 or last[-1] != depth - 1:
        raise ValueError(
            f"last_block_indexes {last}: expected four increasing block indexes of which the "
            f"last is depth - 1 = {depth - 1}"
        )
    if num_heads < 1 or embed_dim % num_heads:
        raise ValueError(f"embed_dim {embed_dim}: must be a multiple of num_heads, {num_heads}")
    if kv_stride < 1:
        raise ValueError(f"adaptive_kv_stride {kv_stride}: must be at least 1")

    blocks: list[BlockSpec] = []
    for index in range(depth):
        stage = sum(index > end for end in last)
        is_first = index - 1 in last
        stage_in = stage - is_first  # the stage of the input map
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
