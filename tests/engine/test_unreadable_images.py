"""Images that are removed or replaced during training and evaluation."""

import json
import logging

import pytest

from mvit_det.data.dataset import read_dataset
from mvit_det.errors import ImageError
from mvit_det.torchvision.data.loaders import build_train_loader, build_val_loader


@pytest.fixture
def data(coco_folder):
    coco = json.loads((coco_folder / "data.json").read_text())
    for number, image in enumerate(coco["images"]):
        coco["annotations"].append(
            {"id": 10 + number, "image_id": image["id"], "category_id": 4, "bbox": [1, 1, 9, 9]}
        )
    (coco_folder / "data.json").write_text(json.dumps(coco))
    return read_dataset(coco_folder / "data.json", coco_folder / "images")


@pytest.fixture
def log(tmp_path):
    """A log file that the loading processes write to as well."""
    handler = logging.FileHandler(tmp_path / "log.txt")
    logging.getLogger().addHandler(handler)
    yield tmp_path / "log.txt"
    logging.getLogger().removeHandler(handler)
    handler.close()


def load(data, **options):
    def augment(image, target):
        return image, target

    return build_train_loader(data, augment, 1, with_masks=False, **options)


def damage(data, how):
    path = data.images / "a.png"
    if how == "removed":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "garbage":
        path.write_bytes(b"garbage")
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes((data.images / "b.png").read_bytes())


@pytest.mark.parametrize("how", ["removed", "truncated", "replaced", "a folder", "garbage"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_changes_is_skipped_once(data, how, workers, log):
    loader = load(data, workers=workers, skip_unreadable=True)
    damage(data, how)
    for _ in range(2):
        ids = [target["image_id"] for _, targets in loader for target in targets]
        assert ids == [3, 3]
    assert log.read_text().count("another image is used in its place (1 image so far)") == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_of_the_evaluation_becomes_an_empty_batch(data, workers, log):
    loader = build_val_loader(data, workers=workers, skip_unreadable=True)
    damage(data, "removed")
    for _ in range(2):
        assert [[target["image_id"] for target in targets] for _, targets in loader] == [[3], []]
    assert log.read_text().count("; the evaluation counts it as an image without detections (1 image") == 1


def test_without_the_option_it_is_an_error(data):
    loader = load(data, workers=0)
    damage(data, "removed")
    with pytest.raises(ImageError, match=r"a\.png: no such image"):
        list(loader)
    with pytest.raises(ImageError, match=r"a\.png: no such image"):
        list(build_val_loader(data, workers=0))


def test_a_folder_that_is_gone_is_an_error(data, caplog):
    caplog.set_level(logging.CRITICAL)
    loader = load(data, workers=0, skip_unreadable=True)
    for path in data.images.iterdir():
        path.unlink()
    with pytest.raises(ImageError, match="none of the next images of the data set can be used either"):
        list(loader)
    with pytest.raises(ImageError, match="none of the images before it can be used either"):
        list(build_val_loader(data, workers=0, skip_unreadable=True))
