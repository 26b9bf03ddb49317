"""The formats of data sets that are folders: one module per format, and a table of all formats.

To add a format, write a module with the contents of :class:`mvit_det.data.formats.interface.Format`, add it
to :data:`FORMATS`, and add a test to ``tests/data/formats``.
"""

from mvit_det.data.formats import coco, voc, yolo
from mvit_det.data.formats.interface import Format

# Name -> module.
FORMATS: dict[str, Format] = {"COCO": coco, "YOLO": yolo, "Pascal VOC": voc}
