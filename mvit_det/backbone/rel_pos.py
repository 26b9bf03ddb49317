"""Decomposed relative positions: one table per axis, resized to the size at hand."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.constants import cached_constant


def relative_rows(table: Tensor, q_size: int, k_size: int) -> Tensor:
    """Return, for every query and key along one axis, the table row of their distance.

    Args:
        table: (L, C), row L // 2 stands for distance 0; resized linearly where
            L is not 2 * max(q_size, k_size) - 1.
        q_size: queries along the axis.
        k_size: keys along the axis.

    Returns:
        (q_size, k_size, C)

    Source: MViTv2 paper, section 4.1, equation 4.
    """
    length = 2 * max(q_size, k_size) - 1
    if torch.compiler.is_compiling() or table.shape[0] != length:  # compiled, one graph for every size
        table = F.interpolate(table.T[None], size=length, mode="linear")[0].T
    return table[_distances(q_size, k_size, table.device)]


@cached_constant
def _distances(q_size: int, k_size: int, device: torch.device) -> Tensor:
    """Return the table row for every query and key, (q_size, k_size) int64.

    Distances are measured on the finer of the two grids and rounded towards zero, in float32 as
    the published models were trained.
    """
    q_step, k_step = max(k_size / q_size, 1.0), max(q_size / k_size, 1.0)
    q = torch.arange(q_size, device=device, dtype=torch.float32) * q_step
    k = torch.arange(k_size, device=device, dtype=torch.float32) * k_step
    return ((q[:, None] - k[None, :]) + (k_size - 1) * k_step).long()
