from pathlib import Path

import pytest
import torch

from mvit_det.errors import InputError
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig, load_detector
from mvit_det.weights import to_detectron2
from mvit_det.weights.checkpoint import CONFIG_KEY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"short_side": "abc"}, "image size of abc px: expected 32 to 10000"),
        ({"short_side": -5}, "image size of -5 px"),
        ({"categories": {}}, "trained on 2 classes but does not name them"),
        ({"categories": {1: "a", 2: "b", 3: "c"}}, "trained on 2 classes but names 3"),
        ({"categories": [1]}, "its configuration is damaged"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused(change, message, trained, tmp_path):
    path, _ = trained
    content = torch.load(path, weights_only=True)
    content[CONFIG_KEY] |= change
    torch.save(content, tmp_path / "changed.ckpt")
    with pytest.raises(InputError, match=f"changed.ckpt: .*{message}"):
        load_detector(tmp_path / "changed.ckpt")


def test_labels_follow_the_order_of_the_category_ids(trained, tmp_path):
    path, _ = trained
    content = torch.load(path, weights_only=True)
    content[CONFIG_KEY] |= {"categories": {10: "b", 9: "a"}}
    torch.save(content, tmp_path / "changed.ckpt")
    assert load_detector(tmp_path / "changed.ckpt")[1].category_ids(torch.tensor([1, 2])) == [9, 10]


def test_names_of_classes_have_no_control_characters(trained, tmp_path):
    path, _ = trained
    content = torch.load(path, weights_only=True)
    content[CONFIG_KEY] |= {"categories": {1: "\x1b[31mred", 2: "n" * 2000}}
    torch.save(content, tmp_path / "changed.ckpt")
    config = load_detector(tmp_path / "changed.ckpt")[1]
    assert config.categories == {1: r"\x1b[31mred", 2: "n" * 2000}  # as in a data set with these names
    with pytest.raises(InputError, match=r"2 n{18}\.\.\.n{18}\)") as caught:
        config.with_ids_of({1: "a"}, path, Path("val.json"))
    assert len(str(caught.value)) < 500


def test_a_detector_of_another_head_is_refused(trained, tmp_path):
    _, state = trained
    second = {name.replace("box_predictor.", "box_predictor.9."): weight for name, weight in state.items()}
    torch.save(state | second, tmp_path / "boxes.pth")
    with pytest.raises(
        InputError, match="boxes.pth: holds mvitv2_nano, .*; its head is none of faster_rcnn, "
    ):
        load_detector(tmp_path / "boxes.pth")


def test_a_detector_of_vitdets_recipe_is_refused(trained, tmp_path):
    _, state = trained
    weights = to_detectron2(state) | {"backbone.fpn_lateral2.norm.weight": torch.ones(64)}
    torch.save({"model": weights, "__author__": "zoo"}, tmp_path / "vitdet.pth")
    with pytest.raises(InputError, match="vitdet.pth: has the pyramid and the heads of ViTDet's recipe, .*"):
        load_detector(tmp_path / "vitdet.pth")


def test_categories_of_another_data_set_are_matched_by_name():
    config = DetectorConfig("mvitv2_nano", {1: "a", 2: "b"}, "faster_rcnn", 320, 320)
    matched = config.with_ids_of({0: "b", 7: "a"}, Path("best.ckpt"), Path("val.json"))
    assert matched.category_ids(torch.tensor([1, 2])) == [7, 0]
    for names in ({0: "b", 7: "c"}, {0: "a", 1: "a"}, {0: "a"}):
        with pytest.raises(InputError, match=r"best\.ckpt: has 2 classes \(1 a, 2 b\), but val\.json has"):
            config.with_ids_of(names, Path("best.ckpt"), Path("val.json"))
