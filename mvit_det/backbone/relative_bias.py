"""The biases that relative positions along one axis give a map's queries, and their gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mvit_det.backbone.rel_pos import kept


class RelativeBias:
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
        self.places = _places(len(rel), *sizes, rel.dtype, rel.device)
        self.rows = (self.places @ rel.flatten(1)).unflatten(
            1, rel.shape[1:]
        )  # (N * H or W * heads, keys, C)
        self.queries = self.flat(q)

    def flat(self, x: Tensor) -> Tensor:
        """Return a view of a map, (N * H, W * heads, C), or by columns (W * heads, N * H, C)."""
        x = x.flatten(2, 3).flatten(0, 1)
        return x.transpose(0, 1) if self.by_columns else x

    def biases(self) -> Tensor:
        """Return (N * H, W * heads, keys), or by columns (W * heads, N * H, keys): neither copies queries."""
        return torch.bmm(self.queries, self.rows.mT)

    def backward(self, grad: Tensor, grad_q: Tensor) -> Tensor:
        """Add to the gradient of a map's queries what the biases' gradient gives; return that of ``rel``."""
        self.flat(grad_q).baddbmm_(grad, self.rows)
        grad_rows = torch.bmm(grad.mT, self.queries)
        return (self.places.mT @ grad_rows.flatten(1)).unflatten(1, grad_rows.shape[1:])


def relative_biases(
    q: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: Sequence[int],
    kv_window: Sequence[int],
) -> list[RelativeBias]:
    """Return the biases by rows and by columns of keys, or none without relative positions."""
    if rel_h is None or rel_w is None:
        return []
    for rel, *lengths in zip((rel_h, rel_w), q_window, kv_window, strict=True):
        expected = (*lengths, q.shape[-1])
        assert rel.shape == expected, f"relative positions {tuple(rel.shape)}, not {expected}"
    return [RelativeBias(rel_h, q, False), RelativeBias(rel_w, q, True)]


@kept
def _places(
    window: int, before: int, length: int, after: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the place in its window of each row or column of a map as one-hot vectors.

    (before * length * after, window); a map's windows follow each other, and those ``before`` and
    ``after`` its axis, images or heads, have the same.
    """
    place = torch.arange(length, device=device).repeat_interleave(after).repeat(before) % window
    return torch.eye(window, dtype=dtype, device=device)[place]
