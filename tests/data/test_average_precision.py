import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mvit_det.data.annotations import read_coco
from mvit_det.data.average_precision import evaluate
from mvit_det.data.results import to_results, write_json


@pytest.fixture
def coco(coco_folder):
    return read_coco(coco_folder / "data.json")


def truth_as_results(coco):
    """Every object but the crowd, found exactly."""
    entries = [entry for entry in coco.anns.values() if not entry["iscrowd"]]
    results = []
    for entry in entries:
        x, y, width, height = entry["bbox"]
        mask = coco.annToMask(entry).astype(bool)[None]
        results += to_results(
            entry["image_id"], [[x, y, x + width, y + height]], [0.9], mask, [entry["category_id"]]
        )
    return results


def test_exact_detections_have_full_precision(coco):
    metrics = evaluate(coco, truth_as_results(coco))
    for kind in ("box", "mask"):
        assert metrics[kind]["AP"] == metrics[kind]["AP50"] == metrics[kind]["AP75"] == 100
        assert metrics[kind]["per_class"] == {"bolt": 100, "nut": 100}
        assert metrics[kind]["APs"] == 100  # 200 px
        assert metrics[kind]["APm"] == 100  # 1200 px
        assert metrics[kind]["APl"] is None  # there is no such object


def test_no_detection_has_no_precision(coco):
    metrics = evaluate(coco, [])
    assert metrics["box"]["AP"] == metrics["mask"]["AP"] == 0
    assert metrics["box"]["APl"] is None


def test_a_box_that_overlaps_by_half_counts_at_one_threshold_of_ten(coco):
    results = truth_as_results(coco)
    results[1]["bbox"] = [30, 0, 30, 21]  # IoU 0.525 with 30 x 40
    metrics = evaluate(coco, results)
    assert metrics["box"]["per_class"]["bolt"] == pytest.approx(10)
    assert metrics["mask"]["per_class"]["bolt"] == 100


def test_the_results_file_is_one_that_pycocotools_reads(coco, coco_folder):
    results = truth_as_results(coco)
    write_json(coco_folder / "detections.json", results)
    found = COCO(coco_folder / "data.json").loadRes(str(coco_folder / "detections.json"))
    assert len(found.anns) == len(json.loads((coco_folder / "detections.json").read_text())) == 2
    run = COCOeval(coco, found, "segm")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert run.stats[0] == pytest.approx(1)
