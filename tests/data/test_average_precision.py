import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mvit_det.data.average_precision import evaluate
from mvit_det.data.coco.index import index_coco
from mvit_det.data.dataset import read_dataset
from mvit_det.data.json_files import write_json
from mvit_det.data.results import to_results


@pytest.fixture
def coco(coco_folder):
    return read_dataset(coco_folder / "data.json", None).coco


def perfect_results(coco):
    """Return a detection for each object except the crowd, with the exact box and mask."""
    entries = [entry for entry in coco.anns.values() if not entry["iscrowd"]]
    results = []
    for entry in entries:
        x, y, width, height = entry["bbox"]
        mask = coco.annToMask(entry).astype(bool)[None]
        results += to_results(
            entry["image_id"], [[x, y, x + width, y + height]], [0.9], mask, [entry["category_id"]]
        )
    return results


def test_the_precision_of_exact_detections_is_100(coco):
    metrics = evaluate(coco, perfect_results(coco), has_masks=True)
    for kind in ("box", "mask"):
        assert metrics[kind]["AP"] == metrics[kind]["AP50"] == metrics[kind]["AP75"] == 100
        assert metrics[kind]["per_class"] == {"bolt": 100, "nut": 100}
        assert metrics[kind]["APs"] == 100  # 200 px
        assert metrics[kind]["APm"] == 100  # 1200 px
        assert metrics[kind]["APl"] is None  # no object is this large


def test_the_precision_without_detections_is_0(coco):
    metrics = evaluate(coco, [], has_masks=True)
    assert metrics["box"]["AP"] == metrics["mask"]["AP"] == 0
    assert metrics["box"]["APl"] is None


def test_a_box_with_iou_0_525_counts_at_one_of_ten_thresholds(coco):
    results = perfect_results(coco)
    results[1]["bbox"] = [30, 0, 30, 21]  # IoU 0.525 with 30 x 40
    metrics = evaluate(coco, results, has_masks=True)
    assert metrics["box"]["per_class"]["bolt"] == pytest.approx(10)
    assert metrics["mask"]["per_class"]["bolt"] == 100


def test_the_area_of_a_detected_mask_decides_its_size():
    # The only object is a square of 10 x 10 px. A false positive with a better score is a frame that is 1 px
    # wide: its box of 60 x 60 px is of medium size and does not count among small objects; its mask of 236 px
    # is small and does.
    masks = np.zeros((2, 100, 100), bool)
    masks[0, 80:90, 80:90] = True
    masks[1, :60, :60] = True
    masks[1, 1:59, 1:59] = False
    coco = index_coco(
        {
            "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 1,
                    "category_id": 1,
                    "bbox": [80, 80, 10, 10],
                    "area": 100,
                    "iscrowd": 0,
                    "segmentation": [[80, 80, 90, 80, 90, 90, 80, 90]],
                }
            ],
            "categories": [{"id": 1, "name": "square"}],
        }
    )
    boxes = np.array([[80, 80, 90, 90], [0, 0, 60, 60]])
    results = to_results(1, boxes, np.array([0.6, 0.9]), masks, [1, 1])
    metrics = evaluate(coco, results, has_masks=True)
    assert metrics["box"]["AP"] == metrics["mask"]["AP"] == 50
    assert metrics["box"]["APs"] == 100
    assert metrics["mask"]["APs"] == 50
    assert "bbox" in results[0]  # unchanged


def test_boxes_alone_have_no_precision_of_masks(coco):
    results = [{k: v for k, v in entry.items() if k != "segmentation"} for entry in perfect_results(coco)]
    for entry in coco.anns.values():
        entry.pop("segmentation")
    metrics = evaluate(coco, results, has_masks=False)
    assert set(metrics) == {"box"}
    assert metrics["box"]["AP"] == 100


def test_pycocotools_reads_the_results_file(coco, coco_folder):
    results = perfect_results(coco)
    write_json(coco_folder / "detections.json", results)
    detections = COCO(coco_folder / "data.json").loadRes(str(coco_folder / "detections.json"))
    assert len(detections.anns) == len(json.loads((coco_folder / "detections.json").read_text())) == 2
    run = COCOeval(coco, detections, "segm")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert run.stats[0] == pytest.approx(1)
