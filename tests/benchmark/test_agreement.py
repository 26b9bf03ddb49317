"""Whether two detectors detect the same objects."""

import pytest
import torch

from mvit_det.benchmark.agreement import compare_detections


def detections(scores, size=20):
    boxes = torch.tensor([[10.0 * i, 5, 10 * i + 8, 15] for i in range(len(scores))])
    masks = torch.zeros(len(scores), size, 10 * len(scores), dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    classes = torch.zeros(len(scores), dtype=torch.int64)
    return {"boxes": boxes, "scores": torch.tensor(scores), "classes": classes, "masks": masks}


def test_detections_agree_in_any_order():
    a = detections([0.9, 0.8, 0.7])
    b = {name: values.flip(0) for name, values in detections([0.9, 0.8 + 4e-6, 0.7]).items()}
    found = compare_detections([a], [b])
    assert found["agree"]
    assert found["matched"] == found["detections"] == 3
    assert found["score_difference"] == pytest.approx(4e-6, rel=0.1)


@pytest.mark.parametrize("changed", ["scores", "classes", "boxes", "masks", "number"])
def test_detections_that_differ_do_not_agree(changed):
    a, b = detections([0.9, 0.8, 0.7]), detections([0.9, 0.8, 0.7])
    if changed == "number":
        b = {name: values[:2] for name, values in b.items()}
    elif changed == "masks":
        b["masks"][0, 5] = False
    else:
        b[changed][0] += {"scores": 2e-5, "classes": 1, "boxes": 1}[changed]
    found = compare_detections([a], [b])
    assert not found["agree"]
    assert found["matched"] == 2
    assert found["detections"] == 3


def test_no_detections_do_not_agree():
    assert not compare_detections([detections([])], [detections([])])["agree"]
