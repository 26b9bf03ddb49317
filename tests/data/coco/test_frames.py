import json

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from mvit_det.data.dataset import read_dataset
from mvit_det.data.image_checks import check_images
from mvit_det.errors import InputError

WIDTH, HEIGHT = 60, 40  # of the stored pixels
BOX = [10, 5, 20, 10]
POLYGON = [10, 5, 30, 5, 30, 15, 10, 15]
# EXIF orientation -> the box in the upright image, which is 40 x 60 px from orientation 5 on.
UPRIGHT = {
    2: [30, 5, 20, 10],
    3: [30, 25, 20, 10],
    4: [10, 25, 20, 10],
    5: [5, 10, 10, 20],
    6: [25, 10, 10, 20],
    7: [25, 30, 10, 20],
    8: [5, 30, 10, 20],
}


def track(items, total):
    return items


def write(folder, stated, annotations, actual=(WIDTH, HEIGHT), orientation=1):
    """Write an image of ``actual`` size in the file, whose entry states another size."""
    (folder / "images").mkdir(exist_ok=True)
    pixels = np.zeros((actual[1], actual[0], 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(folder / "images" / "a.png", exif=exif)
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": stated[0], "height": stated[1]}],
        "categories": [{"id": 1, "name": "nut"}],
        "annotations": [{"image_id": 1, "category_id": 1, **entry} for entry in annotations],
    }
    (folder / "data.json").write_text(json.dumps(data))
    return folder


def read(folder, **options):
    dataset = read_dataset(folder / "data.json", folder / "images", **options)
    return check_images(dataset, track, **options)


def size_of(dataset):
    return dataset.coco.imgs[1]["width"], dataset.coco.imgs[1]["height"]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_the_stored_pixels_are_turned_upright(tmp_path, orientation):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:15, 10:30] = 1
    mask[5, 10] = 0  # not symmetric
    rle = coco_mask.encode(np.asfortranarray(mask))
    rle["counts"] = rle["counts"].decode()
    entries = [{"bbox": BOX}, {"bbox": BOX, "segmentation": [POLYGON]}, {"bbox": BOX, "segmentation": rle}]
    dataset = read(write(tmp_path, (WIDTH, HEIGHT), entries, orientation=orientation))
    assert [problem.kind for problem in dataset.problems] == ["frame"]
    assert size_of(dataset) == (HEIGHT, WIDTH)
    x, y, width, height = UPRIGHT[orientation]
    for entry in dataset.coco.anns.values():
        assert entry["bbox"] == UPRIGHT[orientation]
    assert [entry["area"] for entry in dataset.coco.anns.values()] == [200, 200, 199]
    points = np.reshape(dataset.coco.anns[2]["segmentation"], (-1, 2))
    assert sorted(map(tuple, points.tolist())) == sorted(
        [(x, y), (x, y + height), (x + width, y), (x + width, y + height)]
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(mask)
    stored.info["exif"] = exif.tobytes()
    expected = np.asarray(ImageOps.exif_transpose(stored))
    assert (dataset.coco.annToMask(dataset.coco.anns[3]) == expected).all()


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_an_orientation_that_keeps_the_sides_changes_no_annotation(tmp_path, orientation):
    dataset = read(write(tmp_path, (WIDTH, HEIGHT), [{"bbox": BOX}], orientation=orientation))
    assert dataset.problems == ()
    assert dataset.coco.anns[1]["bbox"] == BOX


def test_upright_annotations_are_kept_where_the_size_is_that_of_the_stored_pixels(tmp_path):
    entries = [{"bbox": [10, 30, 20, 30]}]  # reaches down to 60 px
    dataset = read(write(tmp_path, (WIDTH, HEIGHT), entries, orientation=6))
    assert [problem.kind for problem in dataset.problems] == ["size"]
    assert size_of(dataset) == (40, 60)
    assert dataset.coco.anns[1]["bbox"] == [10, 30, 20, 30]


def test_annotations_of_the_stored_pixels_are_turned_where_the_size_is_upright(tmp_path):
    entries = [{"bbox": [40, 5, 20, 10]}]  # reaches to 60 px on the right
    dataset = read(write(tmp_path, (HEIGHT, WIDTH), entries, orientation=6))
    assert [problem.kind for problem in dataset.problems] == ["frame"]
    assert size_of(dataset) == (40, 60)
    assert dataset.coco.anns[1]["bbox"] == [25, 40, 10, 20]


def test_annotations_that_fit_the_image_are_used_with_its_size(tmp_path):
    dataset = read(write(tmp_path, (70, 45), [{"bbox": BOX}]))
    assert [problem.kind for problem in dataset.problems] == ["size"]
    assert "is 60 x 40 px upright, but the entry of images with the id 1 says 70 x 45" in str(
        dataset.problems[0]
    )
    assert size_of(dataset) == (60, 40)
    assert dataset.coco.anns[1]["bbox"] == BOX


def test_annotations_of_an_image_that_was_made_smaller_are_scaled(tmp_path):
    polygon = [100, 50, 118, 50, 118, 70, 100, 70]
    entries = [{"bbox": [100, 50, 18, 20], "segmentation": [polygon], "area": 360}, {"bbox": [0, 0, 10, 10]}]
    dataset = read(write(tmp_path, (120, 80), entries))
    assert [problem.kind for problem in dataset.problems] == ["frame"]
    assert dataset.coco.anns[1]["bbox"] == [50, 25, 9, 10]
    assert dataset.coco.anns[1]["segmentation"] == [[50, 25, 59, 25, 59, 35, 50, 35]]
    assert [entry["area"] for entry in dataset.coco.anns.values()] == [90, 25]


def test_annotations_that_fill_a_smaller_frame_are_scaled_to_a_larger_image(tmp_path):
    entries = [{"bbox": [3 * number, 2 * number, 3, 2]} for number in range(10)]  # up to 30 x 20 px
    dataset = read(write(tmp_path, (30, 20), entries))
    assert [problem.kind for problem in dataset.problems] == ["frame"]
    assert dataset.coco.anns[10]["bbox"] == [54, 36, 6, 4]
    dataset = read(write(tmp_path, (30, 20), entries[:5]))  # too few to tell: they fit the image
    assert [problem.kind for problem in dataset.problems] == ["size"]
    assert dataset.coco.anns[5]["bbox"] == [12, 8, 3, 2]


def test_an_image_whose_annotations_fit_no_frame_is_dropped(tmp_path):
    folder = write(tmp_path, (100, 100), [{"bbox": [70, 70, 20, 20]}])
    with pytest.raises(InputError, match=r"a\.png: is 60 x 40 px upright, but .* do not fit the image$"):
        read(folder)
    with pytest.raises(InputError, match="none of its images can be used"):
        read(folder, drop_invalid=True)


def test_rle_of_another_size_fits_no_frame(tmp_path):
    rle = {"size": [50, 70], "counts": [0, 3500]}
    folder = write(tmp_path, (70, 50), [{"bbox": BOX, "segmentation": rle}])
    with pytest.raises(InputError, match=r"says 70 x 50, and its annotations do not fit the image"):
        read(folder)
