"""Translation of our operators to standard operators of ONNX."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import FLOAT, INT64, opset20

import mvit_det.export.region_pool
import mvit_det.export.suppression  # noqa: F401  registers the operators
from mvit_det.torchvision.models.roi_pool import STRIDES

OPSET = 20  # the first with Gelu
op: Any = opset20  # its annotations reject numbers and lists, which onnxscript turns into constants
LOWEST_SCORE = float(np.finfo(np.float32).min)  # finite, so that boxes with -inf are skipped


def _suppress(boxes: FLOAT, scores: FLOAT, iou_threshold: float, max_boxes: int) -> FLOAT:
    # OpenVINO also removes boxes whose IoU equals the threshold, ONNX Runtime only those above it.
    threshold = float(np.nextafter(np.float32(iou_threshold), np.float32(1)))
    kept = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), [max_boxes], [threshold], [LOWEST_SCORE])
    index = op.Gather(kept, [0, 2], axis=1)  # (M, 2), group and box
    removed = op.ConstantOfShape(op.Shape(scores), value=ir.tensor([-math.inf], ir.DataType.FLOAT))
    return op.ScatterND(removed, index, op.GatherND(scores, index))


def _pool_regions(
    boxes: FLOAT, image_index: INT64, levels: INT64, maps: Sequence[FLOAT], output_size: int
) -> FLOAT:
    indices, bins = [], []
    for number, (level, stride) in enumerate(zip(maps, STRIDES.values(), strict=True)):
        index = op.Transpose(op.NonZero(op.Equal(levels, number)))  # (R_i, 1)
        indices.append(index)
        bins.append(
            op.RoiAlign(
                level,
                op.GatherND(boxes, index),
                op.GatherND(image_index, index),
                coordinate_transformation_mode="half_pixel",
                output_height=output_size,
                output_width=output_size,
                sampling_ratio=0,
                spatial_scale=1 / stride,
            )
        )
    sides = op.Constant(value_ints=[output_size] * 2)
    shape = op.Concat(op.Shape(boxes, end=1), op.Shape(maps[0], start=1, end=2), sides, axis=0)
    return op.ScatterND(op.ConstantOfShape(shape), op.Concat(*indices, axis=0), op.Concat(*bins, axis=0))


# Our operators -> functions that compose the same from standard operators, for the argument
# ``custom_translation_table`` of :func:`torch.onnx.export`.
ONNX_OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.mvit_det.suppress.default: _suppress,
    torch.ops.mvit_det.pool_regions.default: _pool_regions,
}
