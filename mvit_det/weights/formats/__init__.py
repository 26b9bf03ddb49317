"""The formats of weight files: one module per publisher, and a table of all formats.

To add a format, write a module with the three functions of
:class:`mvit_det.weights.formats.interface.Format`, add it to :data:`FORMATS`, and add a test to
``tests/weights/formats``.
"""

from mvit_det.weights.formats import detectron2, mvit_det, mvitv2, slowfast, timm, torchvision
from mvit_det.weights.formats.interface import Format

# Display name -> module. A file has the first format that recognizes it.
FORMATS: dict[str, Format] = {
    "SlowFast": slowfast,
    "timm": timm,
    "the MViTv2 repository": mvitv2,
    "mvit_det, torchvision": torchvision,
    "Detectron2": detectron2,
    "mvit_det": mvit_det,
}
