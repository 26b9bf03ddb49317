import numpy as np
import pytest
from rich.console import Console

from mvit_det.data.coco.index import index_coco
from mvit_det.data.dataset import Dataset
from mvit_det.data.frames import Frame
from mvit_det.export.check import MAX_ROWS, check_export
from mvit_det.runtime import Detections


def detect(score, x2=20.0):
    """A detector that finds one dog, with category id 7, in every image; none with a score of 0."""
    number = int(score > 0)

    def detect(image):
        mask = np.zeros((number, *image.shape[:2]), bool)
        mask[:, :10, :20] = True
        boxes = np.array([[0, 0, x2, 10]] * number, np.float32).reshape(-1, 4)
        scores = np.full(number, score, np.float32)
        names = {"class_name": np.full(number, "dog")}
        return Detections(boxes, mask, scores, np.full(number, 7), names)

    return detect


def frames(*names):
    return [Frame("", name, np.zeros((30, 40, 3), np.uint8)) for name in names]


def check(checkpoint, export, images, dataset=None, has_masks=True, **options):
    limits = {"min_score": 0.05, "max_detections": 100, "has_masks": has_masks}
    return check_export(checkpoint, export, images, dataset, **limits, **options)


@pytest.fixture
def dataset(tmp_path):
    """Two images, a.png and b.png, with one dog each, at the place where ``detect`` finds it."""
    images = [
        {"id": 4 + n, "file_name": name, "height": 30, "width": 40} for n, name in enumerate(["a", "b"])
    ]
    dog = {"category_id": 7, "bbox": [0, 0, 20, 10], "area": 200, "iscrowd": 0}
    dog["segmentation"] = [[0, 0, 20, 0, 20, 10, 0, 10]]
    annotations = [dog | {"id": n, "image_id": 3 + n} for n in (1, 2)]
    data = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "dog"}]}
    return Dataset(tmp_path / "val.json", tmp_path, index_coco(data))


def test_an_export_that_agrees():
    result = check(detect(0.9), detect(0.9), frames("a", "b"))
    assert result.passed
    assert result.failure == ""
    assert (result.total.num_checkpoint, result.total.num_matched) == (2, 2)
    assert [(image.name, image.height, image.width) for image in result.images] == [
        ("a", 30, 40),
        ("b", 30, 40),
    ]
    assert result.average_precision == {}


def test_the_limit():
    wrong = iter([True, *[False] * 399])

    def export(image):
        return detect(0 if next(wrong) else 0.9)(image)

    assert check(detect(0.9), export, frames(*map(str, range(101)))).passed  # 200 of 201: 99.502 %
    wrong = iter([True, *[False] * 99])
    result = check(detect(0.9), export, frames(*map(str, range(100))))  # 198 of 199: 99.497 %
    assert not result.passed
    assert result.failure == (
        "99.49 % of the detections of the checkpoint and the export match; expected 99.5 %. In 0 "
        "(40 x 30 px), dog of the checkpoint with score 0.9000: the other model does not detect it"
    )


def test_the_failure_names_the_highest_score():
    scores = iter([0.3, 0.8, 0.6])
    result = check(lambda image: detect(next(scores))(image), detect(0), frames("a", "b", "c"))
    assert "In b (40 x 30 px), dog of the checkpoint with score 0.8000" in result.failure


def test_the_contents_of_the_json():
    contents = check(detect(0.9), detect(0.9, x2=18), frames("a")).to_json()
    assert contents["passed"] is False
    assert contents["total"] == {
        "num_checkpoint": 1,
        "num_export": 1,
        "num_matched": 0,
        "score_difference": 0.0,
        "box_difference": 2.0,
        "mask_difference": 0.0,
        "matched_share": 0.0,
    }
    assert contents["images"] == [{"name": "a", "height": 30, "width": 40} | contents["total"]]
    assert [(entry["image"], entry["model"]) for entry in contents["unmatched"]] == [
        ("a", "checkpoint"),
        ("a", "export"),
    ]
    assert "box IoU 0.9000" in contents["unmatched"][0]["difference"]


def test_the_average_precision(dataset):
    images = frames("a", "b", "a, scaled")  # without annotations for the last one
    precision = check(detect(0.9), detect(0.9, x2=14), images, dataset).average_precision
    assert precision["checkpoint"]["box"]["AP"] == 100
    assert precision["export"]["box"]["AP"] == 50  # IoU 0.7: 5 of the 10 thresholds
    assert precision["export"]["mask"]["AP"] == 100
    without_masks = check(detect(0.9), detect(0), images, dataset, has_masks=False).average_precision
    assert without_masks["checkpoint"].keys() == {"box"}
    assert without_masks["export"]["box"]["AP"] == 0


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_lower_precisions_may_lose_little_average_precision(dataset, precision):
    # In one of two images, the box has an IoU of 0.95 or 0.94: it is wrong at none or one of 10 thresholds.
    def export(image):
        return detect(0.9, x2=next(sides))(image)

    sides = iter([20, 19])
    result = check(detect(0.9), export, frames("a", "b"), dataset, precision=precision)
    assert result.total.share < 0.995
    assert result.passed
    sides = iter([20, 18.8])
    result = check(detect(0.9), export, frames("a", "b"), dataset, precision=precision)
    assert not result.passed
    assert result.failure.startswith("the average precision of the export (box) is 9")
    assert "that of the checkpoint 100.00 %; expected a loss of at most" in result.failure
    assert result.to_json()["max_average_precision_loss"] == 1.0
    assert result.to_json()["min_matched_share"] is None


def test_lower_precisions_without_annotations():
    result = check(detect(0.9), detect(0.8), frames("a"), precision="int8")
    assert result.passed
    assert result.failure == ""
    assert not check(detect(0.9), detect(0.8), frames("a")).passed


def render(result):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(*result.tables())
    return capture.get()


def test_the_tables(dataset):
    text = render(check(detect(0.9), detect(0.9, x2=14), frames("a", "b"), dataset))
    assert [cell.strip() for cell in text.splitlines()[3].strip("│").split("│")] == [
        *("a", "40 x 30", "1 / 1", "0.00 %", "0.0e+00", "6.000", "0.0000")
    ]
    assert "all 2 images" in text
    assert "-50.00" in text


def test_the_table_shows_the_images_that_agree_least():
    names = [f"image{n:02d}" for n in range(30)]
    remaining = iter(names)
    result = check(
        detect(0.9), lambda image: detect(0 if next(remaining) == "image25" else 0.9)(image), frames(*names)
    )
    lines = [line for line in render(result).splitlines() if "image" in line and "40 x 30" in line]
    assert len(lines) == MAX_ROWS
    assert "image25" in lines[0]
    assert "image00" in lines[1]
