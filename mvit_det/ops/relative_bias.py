"""Relative position embeddings, and the biases that they add to attention scores."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mvit_det.ops.constants import one_hot_offsets


class RelPos(NamedTuple):
    """The embeddings of the distances between the queries and the keys of a window, for each axis.

    Attributes:
        h: (rows of queries, rows of keys, C)
        w: (columns of queries, columns of keys, C)
    """

    h: Tensor
    w: Tensor

    @classmethod
    def from_optional(cls, h: Tensor | None, w: Tensor | None) -> "RelPos | None":
        """Return the pair, or None if there is none. Custom operators cannot take a NamedTuple."""
        return None if h is None or w is None else cls(h, w)


class AxisBias:
    """The biases of all queries of a map to the keys of their windows, along one axis.

    Args:
        rel_pos: (queries, keys, C) of a window along this axis.
        q: (N, H, W, heads, C), contiguous.
        along_width: whether the axis is the width.
    """

    def __init__(self, rel_pos: Tensor, q: Tensor, along_width: bool) -> None:
        n, height, width, heads, _ = q.shape
        self.along_width = along_width
        sizes = (1, width, heads) if along_width else (n, height, 1)  # outer, length, inner
        # Gather by a product with one-hot vectors: on a GPU, the gradient of indexing is not deterministic.
        self.one_hot = one_hot_offsets(len(rel_pos), *sizes, rel_pos.dtype, rel_pos.device)
        gathered = self.one_hot @ rel_pos.flatten(1)
        self.rel_pos = gathered.unflatten(1, rel_pos.shape[1:])  # (N * H or W * heads, keys, C)
        self.queries = self.as_batch(q)

    def as_batch(self, x: Tensor) -> Tensor:
        """Return a map as a batch of matrices: (N * H, W * heads, C), or along the width its transpose."""
        x = x.flatten(2, 3).flatten(0, 1)
        return x.transpose(0, 1) if self.along_width else x

    def biases(self) -> Tensor:
        """Return the biases: (N * H, W * heads, keys), or along the width (W * heads, N * H, keys)."""
        return torch.bmm(self.queries, self.rel_pos.mT)

    def backward(self, grad: Tensor, grad_q: Tensor) -> Tensor:
        """Propagate the gradient of :meth:`biases`.

        Args:
            grad: gradient of the biases.
            grad_q: (N, H, W, heads, C) gradient of the queries, contiguous; updated in place.

        Returns:
            the gradient of ``rel_pos``.
        """
        self.as_batch(grad_q).baddbmm_(grad, self.rel_pos)
        grad_gathered = torch.bmm(grad.mT, self.queries)
        return (self.one_hot.mT @ grad_gathered.flatten(1)).unflatten(1, grad_gathered.shape[1:])


def relative_axes(
    q: Tensor, rel_pos: RelPos | None, q_window: Sequence[int], kv_window: Sequence[int]
) -> list[AxisBias]:
    """Return the biases along the height and the width; an empty list without relative positions."""
    if rel_pos is None:
        return []
    for axis, *lengths in zip(rel_pos, q_window, kv_window, strict=True):
        expected = (*lengths, q.shape[-1])
        assert axis.shape == expected, f"relative positions of shape {tuple(axis.shape)}, expected {expected}"
    return [AxisBias(rel_pos.h, q, False), AxisBias(rel_pos.w, q, True)]
