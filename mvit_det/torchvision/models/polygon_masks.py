"""The masks of the objects in an image as polygons, which take less memory than one pixel map per object."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors

Polygon = NDArray[np.float64]  # (n, 2), x and y of each vertex, px
MAX_OUTLINE = 100_000  # cells of a polygon that is drawn without being clipped first


class PolygonMasks:
    """The masks of K objects; an object has one or more polygons.

    It is not a dataclass, since Lightning would copy the fields of one when it moves a batch to the GPU.

    Args:
        polygons: the polygons of each object. They may reach beyond the image.
        size: (height, width) of the image, px.
    """

    def __init__(self, polygons: tuple[tuple[Polygon, ...], ...], size: tuple[int, int]) -> None:
        self.polygons, self.size = polygons, size

    @staticmethod
    def from_coco(
        segmentations: Sequence[Sequence[Sequence[float]]], size: tuple[int, int]
    ) -> "PolygonMasks":
        """Return the masks of COCO annotations: [x, y, x, y, ...] for each polygon of each object."""
        arrays = (
            tuple(np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in parts)
            for parts in segmentations
        )
        return PolygonMasks(tuple(arrays), size)

    def __len__(self) -> int:
        return len(self.polygons)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W), as of a tensor of masks."""
        return (len(self.polygons), *self.size)

    def __getitem__(self, kept: Tensor) -> "PolygonMasks":
        """Return the objects for which ``kept``, (K,) bool, is true."""
        objects = zip(self.polygons, kept.tolist(), strict=True)
        return PolygonMasks(tuple(parts for parts, is_kept in objects if is_kept), self.size)

    def vertices(self) -> tv_tensors.BoundingBoxes:
        """Return all vertices, (V, 4), as boxes without area, so that transforms v2 move them.

        Key points would not do: transforms v2 flips them as indexes of pixels, and boxes as coordinates.
        """
        points = np.concatenate([np.zeros((0, 2)), *(part for parts in self.polygons for part in parts)])
        boxes = torch.from_numpy(np.tile(points, 2))  # (x, y, x, y)
        return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=self.size, clamping_mode=None)

    def moved_to(self, vertices: tv_tensors.BoundingBoxes) -> "PolygonMasks":
        """Return the masks whose :meth:`vertices` have been moved to ``vertices``."""
        height, width = vertices.canvas_size
        points = vertices.as_subclass(Tensor)[:, :2].numpy()
        counts = [len(part) for parts in self.polygons for part in parts]
        moved = iter(np.split(points, np.cumsum(counts)[:-1]) if counts else [])
        polygons = tuple(tuple(next(moved) for _ in parts) for parts in self.polygons)
        return PolygonMasks(polygons, (height, width))

    def visible_boxes(self) -> Tensor:
        """Return the box around the part of each mask that is inside the image, (K, 4) XYXY in px.

        An object that is wholly outside has a box of zeros.
        """
        boxes = torch.zeros(len(self), 4)
        for box, parts in zip(boxes, self.polygons, strict=True):
            points = np.concatenate([clip_polygon(part, self.size) for part in parts])
            if len(points):
                box[:] = torch.from_numpy(np.concatenate([points.min(0), points.max(0)]))
        return boxes

    def crop(self, boxes: Tensor, index: Tensor, side: int) -> Tensor:
        """Return the masks in the cells of boxes, (R, side, side), with values 0 and 1.

        Args:
            boxes: (R, 4) XYXY in px.
            index: (R,), the index of each box's object.
            side: side of the result, in cells.
        """
        cropped = np.zeros((len(boxes), side, side), np.uint8)
        regions = zip(cropped, boxes.double().cpu().numpy(), index.tolist(), strict=True)
        for mask, box, number in regions:
            cells_per_px = side / np.maximum(box[2:] - box[:2], 0.1)
            parts = [_drawable((part - box[:2]) * cells_per_px, side) for part in self.polygons[number]]
            mask[:] = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, side, side)))
        return torch.from_numpy(cropped).to(boxes)


def _drawable(polygon: Polygon, side: int) -> NDArray[np.float64]:
    """Return a polygon as x, y, x, y, ..., and only its part in the mask if its outline is very long.

    pycocotools visits and stores every cell on the outline, including those outside the mask.
    """
    if abs(np.diff(polygon, axis=0)).sum() > MAX_OUTLINE:
        polygon = clip_polygon(polygon, (side, side))
    return polygon.ravel()


def clip_polygon(polygon: Polygon, size: tuple[int, int]) -> Polygon:
    """Return the part of a polygon inside an image of (height, width) ``size``; it may have no vertices.

    Source: I. Sutherland and G. Hodgman, Reentrant polygon clipping, 1974.
    """
    height, width = size
    edges: tuple[tuple[int, float, int], ...] = ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1))
    for axis, limit, sign in edges:
        distance = sign * (polygon[:, axis] - limit)  # positive inside
        inside = distance >= 0
        if inside.all():
            continue
        following, next_distance = np.roll(polygon, -1, axis=0), np.roll(distance, -1)
        crosses = inside != np.roll(inside, -1)
        span = np.where(crosses, distance - next_distance, 1)
        crossings = polygon + (distance / span)[:, None] * (following - polygon)
        # Each vertex is followed by the crossing of the edge that starts there.
        candidates: NDArray[Any] = np.stack([polygon, crossings], axis=1)
        polygon = candidates[np.stack([inside, crosses], axis=1)]
    return polygon
