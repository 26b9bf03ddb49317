"""COCO-format data sets in Detectron2."""

import json

import pytest
import torch
from detectron2.data import DatasetCatalog, DatasetMapper
from detectron2.evaluation import inference_on_dataset
from detectron2.structures import Boxes, Instances

from mvit_det.detectron2.data.coco_json import (
    JsonEvaluator,
    check_dataset,
    check_image_files,
    count_classes,
    count_steps,
    mask_format,
    register_json,
    registered_categories,
)
from mvit_det.errors import InputError


def test_registered_file_gives_detectron2_dicts(coco_folder):
    path, images = str(coco_folder / "data.json"), str(coco_folder / "images")
    name = register_json(path, images)
    assert register_json(path, images) == name  # does not register it twice
    check_dataset(name)
    assert registered_categories(name) == {4: "bolt", 90: "nut"}
    empty, full = DatasetCatalog.get(name)  # in the order of their ids, 3 and 7
    assert empty["annotations"] == []
    assert (full["width"], full["height"], full["file_name"]) == (60, 40, f"{images}/a.png")
    assert [entry["category_id"] for entry in full["annotations"]] == [1, 0, 0]
    assert [entry["iscrowd"] for entry in full["annotations"]] == [0, 0, 1]
    mapper = DatasetMapper(
        True,
        augmentations=[],
        image_format="RGB",
        use_instance_mask=True,
        instance_mask_format=mask_format(path),
    )
    objects = mapper(full)["instances"]  # without the crowd
    assert objects.gt_boxes.tensor.tolist() == [[10, 5, 30, 15], [30, 0, 60, 40]]
    assert objects.gt_masks.tensor.sum((1, 2)).tolist() == [200, 1200]


def test_coco_has_its_own_category_ids():
    categories = registered_categories("coco_2017_val")
    assert len(categories) == 80
    assert list(categories.items())[-1] == (90, "toothbrush")


def test_counts_and_mask_format_of_a_file(coco_folder):
    path = str(coco_folder / "data.json")
    assert count_classes(path) == 2
    assert count_steps(path, epochs=5, batch_size=2) == 3  # one image has objects
    assert mask_format(path) == "bitmask"


def test_evaluator_accepts_annotations_without_ids(coco_folder, coco_data, tmp_path):
    del coco_data["annotations"][2]  # the crowd
    for annotation in coco_data["annotations"]:
        del annotation["id"], annotation["iscrowd"]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    name = register_json(str(coco_folder / "data.json"), str(coco_folder / "images"))

    class PerfectDetector(torch.nn.Module):
        def forward(self, inputs):
            objects = Instances((40, 60), scores=torch.tensor([0.9, 0.8]), pred_classes=torch.tensor([1, 0]))
            objects.pred_boxes = Boxes(torch.tensor([[10.0, 5, 30, 15], [30, 0, 60, 40]]))
            return [{"instances": objects[: 2 if sample["image_id"] == 7 else 0]} for sample in inputs]

    loader = [[{"image_id": sample["image_id"]}] for sample in DatasetCatalog.get(name)]
    result = inference_on_dataset(PerfectDetector(), loader, JsonEvaluator(name, output_dir=str(tmp_path)))
    assert result["bbox"]["AP"] == pytest.approx(100)
    entries = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [entry["category_id"] for entry in entries] == [90, 4]


def test_bad_input_raises(coco_folder, coco_data):
    path, images = coco_folder / "data.json", str(coco_folder / "images")
    other = coco_folder / "other.json"
    coco_data["categories"][0]["name"] = "screw"
    other.write_text(json.dumps(coco_data))
    with pytest.raises(InputError, match=r"other.json: its categories differ from those of .*data.json"):
        register_json(str(other), images, like=str(path))
    coco_data["images"][0]["file_name"] = "gone.png"
    (coco_folder / "gone.json").write_text(json.dumps(coco_data))
    with pytest.raises(InputError, match=r"gone.png: no such"):
        check_image_files(str(coco_folder / "gone.json"), images)
    with pytest.raises(InputError, match="unknown data set 'coco_2017_vall': did you mean 'coco_2017_val'"):
        check_dataset("coco_2017_vall")
