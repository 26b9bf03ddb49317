import numpy as np
import supervision as sv
from pycocotools import mask as coco_mask
from supervision.detection.compact_mask import CompactMask

from mvit_det.report.colors import color_of
from mvit_det.report.detections import draw_detections, to_entries

NAMES = {3: "nut", 5: "bolt"}


def detections(**fields):
    """Three objects, the last of which is at the right and the lower edge of the image."""
    masks = np.zeros((3, 70, 90), bool)
    masks[0, 0:10, 0:20] = masks[1, 20:40, 30:50] = masks[2, 60:, 80:] = True
    masks[1, 25, 35] = False
    boxes = sv.mask_to_xyxy(masks).astype(np.float32) + np.array([0, 0, 1, 1])
    return sv.Detections(boxes, masks, np.array([0.9, 0.8, 0.7]), np.array([3, 5, 5]), **fields)


def compact(dense):
    masks = CompactMask.from_dense(dense.mask, sv.mask_to_xyxy(dense.mask), dense.mask.shape[1:])
    return sv.Detections(dense.xyxy, masks, dense.confidence, dense.class_id)


def test_compact_masks_are_written_and_drawn_as_others_are():
    dense = detections()
    entries = to_entries(1, compact(dense))
    assert entries == to_entries(1, dense)
    assert np.array_equal(coco_mask.decode(entries[1]["segmentation"]), dense.mask[1])
    image = np.full((70, 90, 3), 100, np.uint8)
    drawn = draw_detections(image, compact(dense), NAMES)
    assert np.array_equal(drawn, draw_detections(image, dense, NAMES))
    assert (drawn != image).any()


def test_tracks_are_written_and_drawn():
    tracked = detections(tracker_id=np.array([7, -1, 9]))
    assert [entry.get("track_id") for entry in to_entries(1, tracked)] == [7, None, 9]
    assert "track_id" not in to_entries(1, detections())[0]
    drawn = draw_detections(np.full((70, 90, 3), 100, np.uint8), tracked, NAMES)
    assert tuple(drawn[69, 89]) == color_of(9)
    assert tuple(drawn[39, 49]) == color_of(2)  # the color of the class
