"""Data sets in Detectron2's catalog."""

import json

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.structures import Boxes, Instances

from mvit_det.data.average_precision import evaluate
from mvit_det.data.dataset import read_dataset
from mvit_det.detectron2.data.evaluator import UserDataEvaluator
from mvit_det.detectron2.data.mapper import DetectionMapper
from mvit_det.detectron2.data.registration import check_dataset, register, registered_categories, unregister
from mvit_det.errors import InputError


def test_registered_data_set_gives_detectron2_dicts(coco_folder):
    name = str(coco_folder)
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    register(name, dataset)
    register(name, dataset)  # does not register it twice
    check_dataset(name)
    assert registered_categories(name) == {4: "bolt", 90: "nut"}
    empty, full = DatasetCatalog.get(name)  # in the order of their ids, 3 and 7
    assert empty["annotations"] == []
    assert (full["width"], full["height"], full["file_name"]) == (60, 40, f"{coco_folder}/images/a.png")
    assert [entry["category_id"] for entry in full["annotations"]] == [1, 0, 0]
    assert [entry["iscrowd"] for entry in full["annotations"]] == [0, 0, 1]
    mapper = DetectionMapper(
        True, augmentations=[], image_format="RGB", use_instance_mask=True, instance_mask_format="bitmask"
    )
    objects = mapper(full)["instances"]  # without the crowd
    assert objects.gt_boxes.tensor.tolist() == [[10, 5, 30, 15], [30, 0, 60, 40]]
    assert objects.gt_masks.tensor.sum((1, 2)).tolist() == [200, 1200]


def test_coco_has_its_own_category_ids():
    categories = registered_categories("coco_2017_val")
    assert len(categories) == 80
    assert list(categories.items())[-1] == (90, "toothbrush")


def test_names_of_a_data_set_that_others_registered_have_no_control_characters():
    DatasetCatalog.register("hostile", list)
    MetadataCatalog.get("hostile").set(thing_classes=["\x1b[31mred", "line\nbreak", "plain"])
    assert list(registered_categories("hostile").values()) == [r"\x1b[31mred", "line break", "plain"]
    unregister("hostile")


@pytest.mark.parametrize("missing", [("id", "iscrowd"), ("segmentation",)])
def test_evaluator_accepts_annotations_without_ids_or_masks(
    coco_folder, coco_data, perfect_detector, tmp_path, missing
):
    del coco_data["annotations"][2]  # the crowd
    for annotation in coco_data["annotations"]:
        for key in missing:
            del annotation[key]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    name = str(tmp_path)
    register(name, read_dataset(coco_folder / "data.json", coco_folder / "images"))
    loader = [[{"image_id": sample["image_id"]}] for sample in DatasetCatalog.get(name)]
    evaluator = UserDataEvaluator(name, output_dir=str(tmp_path))
    result = inference_on_dataset(perfect_detector, loader, evaluator)
    assert result["bbox"]["AP"] == pytest.approx(100)
    assert "segm" not in result
    entries = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [entry["category_id"] for entry in entries] == [90, 4]


def test_crowd_without_a_mask_does_not_stop_the_evaluation_of_masks(coco_folder, coco_data, tmp_path):
    del coco_data["annotations"][2]["segmentation"]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    register(str(tmp_path), dataset)
    evaluator = UserDataEvaluator(str(tmp_path), output_dir=str(tmp_path))
    evaluator.reset()
    objects = Instances((40, 60), scores=torch.tensor([0.9]), pred_classes=torch.tensor([0]))
    objects.pred_boxes = Boxes(torch.tensor([[30.0, 0, 60, 40]]))
    objects.pred_masks = torch.zeros(1, 40, 60, dtype=torch.bool)
    objects.pred_masks[:, :, 30:] = True  # one of the two objects
    evaluator.process([{"image_id": 7}], [{"instances": objects}])
    expected = evaluator.evaluate()
    assert expected["segm"]["AP"] == expected["bbox"]["AP"] == pytest.approx(50)
    results = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert evaluate(dataset.coco, results, has_masks=True)["mask"]["AP"] == 50  # of the other integration


def test_unknown_data_set_raises():
    with pytest.raises(InputError, match="unknown data set 'coco_2017_vall': did you mean 'coco_2017_val'"):
        check_dataset("coco_2017_vall")
