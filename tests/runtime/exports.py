"""An export with a tiny model that honors the contract of the real ones."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DESCRIPTION = {
    "format_version": 1,
    "format": "onnx",
    "precision": "float32",
    "model": "model.onnx",
    "classes": [{"id": 7, "name": "nut"}, {"id": 3, "name": "bolt"}],
    "variant": "mvitv2_nano",
    "head": "mask_rcnn",
    "has_masks": True,
    "short_side": 80,
    "long_side": 120,
    "size_multiple": 32,
    "max_side": 128,
    "pixel_mean": [123.675, 116.28, 103.53],
    "pixel_std": [58.395, 57.12, 57.375],
    "min_score": 0.05,
    "iou_threshold": 0.5,
    "max_detections": 5,
    "mask_threshold": 0.5,
    "checkpoint": {"file": "best.ckpt", "sha256": "0" * 64},
    "versions": {"mvit_det": "0.1.0", "opset": 18},
}
# Boxes in fractions of the scaled image. The second one is empty, the third one exceeds the image, and the
# last one is not counted.
BOXES = [[0.25, 0.25, 0.75, 0.75], [0.5, 0, 0.5, 1], [0, 0, 1.1, 0.5], [0, 0, 1, 1], [0, 0, 1, 1]]
LABELS = [1, 0, 0, 1, 0]
FACTORS = [1, 0.9, 0.75, 0.5, 0.4]  # of the scores


def write_export(folder, opset=18, **changes):
    """Write an export into ``folder``.

    The model's scores are the mean of an image's pixels in 0..1, padding excluded, times ``FACTORS``. Its
    masks have 2 x 2 cells, of which those on the left are 1.
    """
    description = DESCRIPTION | changes
    folder.mkdir(exist_ok=True)
    (folder / "detector.json").write_text(json.dumps(description))
    constants = {
        "fractions": np.array(BOXES, np.float32),
        "labels_1": np.array(LABELS, np.int64),
        "masks_1": np.broadcast_to(np.array([[1.0, 0], [1, 0]], np.float32), (5, 2, 2)),
        "count_1": np.array(4, np.int64),
        "factors": np.array(FACTORS, np.float32),
        "scale": np.array(3 * 255, np.float32),
        "whxy": np.array([1, 0, 1, 0], np.int64),
        "pixels": np.array([1, 2, 3], np.int64),
        "sides": np.array([1], np.int64),
        **{f"like_{rank}": np.array([1] * rank, np.int64) for rank in range(4)},
    }

    def expand(name, rank):
        """Repeat a constant of ``rank`` dimensions for each image."""
        return [
            helper.make_node("Concat", ["num_images", f"like_{rank}"], [f"{name}_shape"], axis=0),
            helper.make_node("Expand", [f"{name}_1", f"{name}_shape"], [name]),
        ]

    nodes = [
        helper.make_node("Shape", ["images"], ["num_images"], start=0, end=1),
        helper.make_node("Cast", ["image_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["sizes", "whxy"], ["whwh"], axis=1),
        helper.make_node("Unsqueeze", ["whwh", "sides"], ["whwh_1"]),
        helper.make_node("Mul", ["whwh_1", "fractions"], ["boxes"]),
        helper.make_node("ReduceSum", ["images", "pixels"], ["sum"], keepdims=0),
        helper.make_node("ReduceProd", ["sizes", "sides"], ["areas"], keepdims=0),
        helper.make_node("Div", ["sum", "areas"], ["sum_per_pixel"]),
        helper.make_node("Div", ["sum_per_pixel", "scale"], ["mean"]),
        helper.make_node("Unsqueeze", ["mean", "sides"], ["mean_1"]),
        helper.make_node("Mul", ["mean_1", "factors"], ["scores"]),
        *expand("labels", 1),
        *expand("masks", 3),
        *expand("count", 0),
        helper.make_node("Identity", ["count"], ["num_detections"]),
    ]
    inputs = {"images": ("NCHW", TensorProto.FLOAT), "image_sizes": (["N", 2], TensorProto.INT64)}
    outputs = {
        "boxes": (["N", 5, 4], TensorProto.FLOAT),
        "scores": (["N", 5], TensorProto.FLOAT),
        "labels": (["N", 5], TensorProto.INT64),
        "masks": (["N", 5, 2, 2], TensorProto.FLOAT),
        "num_detections": (["N"], TensorProto.INT64),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (shape, kind) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if opset == 18:
        onnx.checker.check_model(model, full_check=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder
