"""Data sets in LVIS's format: registration, the federated loss, and evaluation."""

import json
import sys
from importlib.util import find_spec

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.utils.events import EventStorage

from mvit_det.backbone.mvit import variant_keywords
from mvit_det.detectron2 import get_config
from mvit_det.detectron2.data.lvis import LvisEvaluator, check_lvis, class_weights, register_lvis
from mvit_det.detectron2.lazy_config import build
from mvit_det.errors import DependencyError, InputError


@pytest.fixture
def lvis_data(coco_folder, coco_data):
    """``coco_data`` with the fields of LVIS. The names of the images are in their URLs."""
    for image in coco_data["images"]:
        image["coco_url"] = f"http://images.example.org/images/{image.pop('file_name')}"
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for category in coco_data["categories"]:  # 90, nut, and 4, bolt
        is_nut = category["name"] == "nut"
        category |= {"frequency": "f" if is_nut else "r", "image_count": 400 if is_nut else 9}
    for number, annotation in enumerate(coco_data["annotations"], start=1):
        annotation["id"] = number
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    # The columns 10 to 29 and the rows 5 to 14 as RLE, of which a crop needs no further package.
    rows = [10 * 40 + 5, *[10, 30] * 19, 10, 30 * 40 + 25]
    coco_data["annotations"][0]["segmentation"] = {"size": [40, 60], "counts": rows}
    del coco_data["annotations"][2]  # the crowd: LVIS has none
    return coco_data


@pytest.fixture
def json_file(coco_folder, lvis_data):
    """A file in LVIS's format, beside the folder ``images``."""
    path = coco_folder / "lvis.json"
    path.write_text(json.dumps(lvis_data))
    return path


def test_image_counts_are_in_the_order_of_the_classes(json_file):
    name = register_lvis(str(json_file), str(json_file.parent))
    assert register_lvis(str(json_file), str(json_file.parent)) == name
    weights = class_weights(name, power=0.5)()
    assert weights.tolist() == [3, 20]  # bolt, nut
    assert DatasetCatalog.get(name)[1]["file_name"] == f"{json_file.parent}/images/a.png"
    with pytest.raises(InputError, match="data set coco_2017_train: the federated loss needs"):
        class_weights("coco_2017_train", power=0.5)


def test_lvis_v1_has_1203_classes():
    weights = class_weights("lvis_v1_train", power=1.0)()
    assert len(weights) == 1203
    assert weights[:2].tolist() == [64, 364]  # aerosol can, air conditioner


@pytest.mark.slow
def test_training_step_of_the_lvis_config(json_file):
    cfg = get_config("lvis/cascade_mask_rcnn_mvitv2_b_in21k_100ep")
    cfg.dataloader.train.update(total_batch_size=1, num_workers=0)
    cfg.dataloader.train.dataset.names = register_lvis(str(json_file), str(json_file.parent))
    cfg.dataloader.train.mapper.instance_mask_format = "bitmask"
    cfg.dataloader.train.mapper.augmentations[1].update(target_height=64, target_width=64)
    cfg.dataloader.train.mapper.augmentations[2].crop_size = (64, 64)
    cfg.model.roi_heads.num_classes = 2
    cfg.model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))
    cfg.model.backbone.square_pad = 64
    cfg.model.roi_heads.batch_size_per_image = 16
    model = build(cfg.model)
    (sample,) = next(iter(build(cfg.dataloader.train)))
    with EventStorage():
        losses = model([sample])
    for stage in range(3):
        assert losses[f"loss_cls_stage{stage}"] > 0
    sum(losses.values()).backward()
    gradient = model.roi_heads.box_predictor[0].cls_score.weight.grad
    assert gradient.isfinite().all()
    assert (gradient[2] == 0).all()  # with a sigmoid per class, there is no class of background


@pytest.mark.skipif(find_spec("lvis") is None, reason="needs lvis")
def test_evaluator_gives_the_precision_by_frequency(json_file, perfect_detector, tmp_path):
    name = register_lvis(str(json_file), str(json_file.parent))
    check_lvis(name)
    loader = [[{"image_id": sample["image_id"]}] for sample in DatasetCatalog.get(name)]
    evaluator = LvisEvaluator(name, output_dir=str(tmp_path), max_dets_per_image=300)
    result = inference_on_dataset(perfect_detector, loader, evaluator)["bbox"]
    assert [result[key] for key in ("AP", "APr", "APf")] == pytest.approx([100, 100, 100])
    assert result["APc"] == -100  # no class


def test_missing_package_raises(json_file, monkeypatch):
    name = register_lvis(str(json_file), str(json_file.parent))
    monkeypatch.setitem(sys.modules, "lvis", None)
    for check in (check_lvis, LvisEvaluator):
        with pytest.raises(DependencyError, match="LVIS needs the package lvis: pip install lvis"):
            check(name)
    check_lvis("coco_2017_val")  # is not evaluated as LVIS is


@pytest.mark.parametrize(
    ("part", "field", "message"),
    [
        ("categories", "frequency", r"categories\[1\]\.frequency: is None; .* has r, c or f"),
        ("categories", "image_count", r"categories\[1\]\.image_count: is None"),
        ("images", "neg_category_ids", r"images\[1\]\.neg_category_ids: is not a list"),
    ],
)
def test_missing_field_raises(json_file, lvis_data, part, field, message):
    del lvis_data[part][1][field]
    json_file.write_text(json.dumps(lvis_data))
    with pytest.raises(InputError, match=f"lvis.json: {message}"):
        register_lvis(str(json_file), str(json_file.parent))
    assert f"{json_file}:{json_file.parent}" not in MetadataCatalog
