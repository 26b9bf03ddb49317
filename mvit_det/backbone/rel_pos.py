"""Decomposed relative positions: one table of embeddings per axis, resized to the number of tokens."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.constants import cached_constant


def relative_positions(table: Tensor, q_size: int, k_size: int) -> Tensor:
    """Return the embedding of the distance between each query and each key along one axis.

    Args:
        table: (L, C), one row per distance, from the most negative to the most positive. It is resized
            linearly to 2 * max(q_size, k_size) - 1 rows.
        q_size: number of queries along the axis.
        k_size: number of keys along the axis.

    Returns:
        (q_size, k_size, C)

    Source: MViTv2, arXiv 2112.01526, section 4.1, equation 4.
    """
    length: Any = 2 * torch.sym_max(q_size, k_size) - 1  # symbolic in an exported model
    if torch.compiler.is_compiling() or table.shape[0] != length:  # compiled: one graph for every size
        table = F.interpolate(table.T[None], size=length, mode="linear")[0].T
    return table[_table_rows(q_size, k_size, table.device)]


@cached_constant
def _table_rows(q_size: int, k_size: int, device: torch.device) -> Tensor:
    """Return the row of the table for each query and key, (q_size, k_size) int64.

    Positions are measured in tokens of the finer of the two grids. Rows are computed in float32 and
    truncated, as in the published models.
    """
    q_step: Any = torch.sym_max(k_size / q_size, 1.0)
    k_step: Any = torch.sym_max(q_size / k_size, 1.0)
    q = torch.arange(q_size, device=device, dtype=torch.float32) * q_step
    k = torch.arange(k_size, device=device, dtype=torch.float32) * k_step
    rows: Tensor = (q[:, None] - k[None, :]) + (k_size - 1) * k_step
    return rows.long()
