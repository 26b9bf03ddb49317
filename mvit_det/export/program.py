"""Detectors as programs of :func:`torch.export.export`."""

import torch
from torch.export import ExportedProgram

from mvit_det.errors import DependencyError
from mvit_det.export.exportable_detector import ExportableDetector

try:
    from torch.fx.experimental.dynamic_spec import ShapesSpec, ShapeVar, TensorSpec
except ImportError as error:
    raise DependencyError(
        f"torch {torch.__version__}: exports need torch 2.14+: pip install --upgrade torch torchvision"
    ) from error

SIZE_MULTIPLE = 32  # px, of which height and width of a batch are multiples
MAX_SIDE = 2048  # px, of height and width of a batch


def export_program(detector: ExportableDetector) -> ExportedProgram:
    """Return one program for batches of any size.

    Height and width are multiples of :data:`SIZE_MULTIPLE` up to :data:`MAX_SIDE`.
    """
    images = torch.zeros(2, 3, 96, 128)
    image_sizes = torch.tensor([[96, 128], [96, 128]])
    batch = ShapeVar("batch", min=1)
    # Sizes are unbacked: the tracer must not choose between branches by the sizes of the example.
    height, width = (ShapeVar(name, min=SIZE_MULTIPLE, max=MAX_SIDE) for name in ("height", "width"))
    shapes = ShapesSpec(
        {"images": TensorSpec([batch, 3, height, width]), "image_sizes": TensorSpec([batch, 2])},
        assumptions=[height % SIZE_MULTIPLE == 0, width % SIZE_MULTIPLE == 0],
    )
    with torch.no_grad():
        return torch.export.export(detector, (images, image_sizes), dynamic_shapes=shapes)
