"""Hyperparameters of each block, derived from those of the network."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSpec:
    """Hyperparameters of one block.

    Attributes:
        dim: width of the input.
        dim_att: width of the attention, which is the input width of the MLP.
        dim_out: width of the output.
        num_heads: number of heads.
        pool_q: whether queries are pooled and normalized.
        stride_q: pooling stride of queries, tokens.
        stride_kv: pooling stride of keys and values, tokens.
        window_size: side of a window before pooling, tokens; 0 for global attention.
        input_size: side of the input map for images of the pretraining size, tokens.
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
    adaptive_kv_stride: int,
    adaptive_window_size: int,
    input_size: int,
    drop_path_rate: float,
    dim_mul_in_att: bool,
    double_global_kv_stride: bool,
    pool_unstrided_queries: bool,
) -> list[BlockSpec]:
    """Return the hyperparameters of each block.

    The first block of stages 2 to 4 pools its queries with stride 2 and doubles the number of heads. It still
    sees the map of the previous stage, and uses the window size of that stage. The width doubles in the
    attention of that block, or, with ``dim_mul_in_att=False``, in the MLP of the last block of the previous
    stage. The last blocks of stages 2 to 4 attend globally; with ``double_global_kv_stride``, those of stages
    2 and 3 double the pooling stride of keys and values. With an ``adaptive_window_size`` of 0, every block
    attends globally.

    Args:
        input_size: side of the map after the patch embedding for images of the pretraining size, tokens.
        **others: keywords of :class:`mvit_det.MViT`.

    Raises:
        ValueError: if ``last_block_indexes`` is not four increasing indexes ending in ``depth - 1``, if
            ``num_heads`` does not divide ``embed_dim``, if ``adaptive_kv_stride`` is below 1, or if a pooling
            stride does not divide a window.

    Source: MViTv2, arXiv 2112.01526, sections 4.1 (hybrid window attention), 4.2 and B.1 (widths).
    """
    ends = tuple(last_block_indexes)
    if len(ends) != 4 or list(ends) != sorted(set(ends)) or ends[0] < 0 or ends[-1] != depth - 1:
        raise ValueError(
            f"last_block_indexes {ends}: expected four increasing block indexes, ending in "
            f"depth - 1 = {depth - 1}"
        )
    if num_heads < 1 or embed_dim % num_heads:
        raise ValueError(f"embed_dim {embed_dim}: must be a multiple of num_heads, {num_heads}")
    if adaptive_kv_stride < 1:
        raise ValueError(f"adaptive_kv_stride {adaptive_kv_stride}: must be at least 1")

    specs: list[BlockSpec] = []
    for index in range(depth):
        stage = sum(index > end for end in ends)  # from 0 to 3
        downsamples = index - 1 in ends
        input_stage = stage - downsamples
        doubles_kv = double_global_kv_stride and index in ends[1:3]
        dim = specs[-1].dim_out if specs else embed_dim
        dim_att = dim * 2 if downsamples and dim_mul_in_att else dim
        spec = BlockSpec(
            dim=dim,
            dim_att=dim_att,
            dim_out=dim_att * 2 if index in ends[:3] and not dim_mul_in_att else dim_att,
            num_heads=num_heads * 2**stage,
            pool_q=downsamples or pool_unstrided_queries,
            stride_q=2 if downsamples else 1,
            stride_kv=max(adaptive_kv_stride // 2**stage, 1) * (2 if doubles_kv else 1),
            window_size=0 if index in ends[1:] else adaptive_window_size // 2**input_stage,
            input_size=input_size // 2**input_stage,
            drop_path=drop_path_rate * index / max(depth - 1, 1),
        )
        for stride in (spec.stride_q, spec.stride_kv):
            if spec.window_size % stride:
                raise ValueError(
                    f"adaptive_window_size {adaptive_window_size}: block {index} has a window of "
                    f"{spec.window_size} tokens, which its pooling stride {stride} does not divide"
                )
        specs.append(spec)
    return specs
