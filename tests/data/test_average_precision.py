import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mvit_det.data.annotations import read_coco
from mvit_det.data.average_precision import evaluate
from mvit_det.data.json_files import write_json
from mvit_det.data.results import to_results


@pytest.fixture
def coco(coco_folder):
    return read_coco(coco_folder / "data.json")


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
    metrics = evaluate(coco, perfect_results(coco))
    for kind in ("box", "mask"):
        assert metrics[kind]["AP"] == metrics[kind]["AP50"] == metrics[kind]["AP75"] == 100
        assert metrics[kind]["per_class"] == {"bolt": 100, "nut": 100}
        assert metrics[kind]["APs"] == 100  # 200 px
        assert metrics[kind]["APm"] == 100  # 1200 px
        assert metrics[kind]["APl"] is None  # no object is this large


def test_the_precision_without_detections_is_0(coco):
    metrics = evaluate(coco, [])
    assert metrics["box"]["AP"] == metrics["mask"]["AP"] == 0
    assert metrics["box"]["APl"] is None


def test_a_box_with_iou_0_525_counts_at_one_of_ten_thresholds(coco):
    results = perfect_results(coco)
    results[1]["bbox"] = [30, 0, 30, 21]  # IoU 0.525 with 30 x 40
    metrics = evaluate(coco, results)
    assert metrics["box"]["per_class"]["bolt"] == pytest.approx(10)
    assert metrics["mask"]["per_class"]["bolt"] == 100


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
