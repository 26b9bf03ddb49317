"""The biases that relative positions along one axis give a map's queries, and their gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mvit_det.ops.constants import one_hot_places


class RelativeAxis:
    """The biases of all queries of a map to the keys of their windows along one axis.

    Args:
        rel: (height or width of a window, keys, C)
        q: (N, H, W, heads, C), contiguous.
        by_columns: whether the axis is that of the columns.
    """

    def __init__(self, rel: Tensor, q: Tensor, by_columns: bool) -> None:
        n, height, width, heads, _ = q.shape
        self.by_columns = by_columns
        sizes = (1, width, heads) if by_columns else (n, height, 1)
        # A product, and so its gradient: a sum by index would have no fixed order on a GPU.
        self.places = one_hot_places(len(rel), *sizes, rel.dtype, rel.device)
        rows = self.places @ rel.flatten(1)
        self.rows = rows.unflatten(1, rel.shape[1:])  # (N * H, or W * heads; keys; C)
        self.queries = self.flat(q)

    def flat(self, x: Tensor) -> Tensor:
        """Return a view of a map, (N * H, W * heads, C), or by columns (W * heads, N * H, C)."""
        x = x.flatten(2, 3).flatten(0, 1)
        return x.transpose(0, 1) if self.by_columns else x

    def biases(self) -> Tensor:
        """Return (N * H, W * heads, keys), or by columns (W * heads, N * H, keys): neither copies queries."""
        return torch.bmm(self.queries, self.rows.mT)

    def backward(self, grad: Tensor, grad_q: Tensor) -> Tensor:
        """Add to ``grad_q``, a map, what the gradient of :meth:`biases` gives; return that of ``rel``."""
        self.flat(grad_q).baddbmm_(grad, self.rows)
        grad_rows = torch.bmm(grad.mT, self.queries)
        return (self.places.mT @ grad_rows.flatten(1)).unflatten(1, grad_rows.shape[1:])


def relative_axes(
    q: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: Sequence[int],
    kv_window: Sequence[int],
) -> list[RelativeAxis]:
    """Return the axis of rows and that of columns, or none without relative positions."""
    if rel_h is None or rel_w is None:
        return []
    for rel, *lengths in zip((rel_h, rel_w), q_window, kv_window, strict=True):
        expected = (*lengths, q.shape[-1])
        assert rel.shape == expected, f"relative positions {tuple(rel.shape)}, not {expected}"
    return [RelativeAxis(rel_h, q, False), RelativeAxis(rel_w, q, True)]
