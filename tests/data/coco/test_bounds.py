"""Outlines, RLE and sizes that would take any amount of memory are refused before anything is drawn."""

import json

import pytest
from PIL import Image

from mvit_det.data.dataset import read_dataset
from mvit_det.data.image_checks import check_images
from mvit_det.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a data set of one image of 60 x 40 px with these objects."""
    exif = Image.Exif()
    exif[0x112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "images/a.png")
    Image.new("RGB", (600, 400)).save(tmp_path / "images/large.png")
    Image.new("RGB", (60, 40)).save(tmp_path / "images/turned.jpg", exif=exif)

    def read(*objects, size=(60, 40), images=True, name="a.png"):
        ids = {"image_id": 1, "category_id": 1}
        data = {
            "images": [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}],
            "annotations": [{"id": number} | ids | each for number, each in enumerate(objects)],
            "categories": [{"id": 1, "name": "nut"}],
        }
        (tmp_path / "a.json").write_text(json.dumps(data))
        return read_dataset(tmp_path / "a.json", tmp_path / "images" if images else None)

    return read


def zigzag(num_points, side):
    return [value for step in range(num_points) for value in (side * (step % 2), step % side)]


def test_stated_sizes_are_not_believed_beyond_what_can_be_read(read):
    mask = {"bbox": [0, 0, 10, 10], "segmentation": [zigzag(1500, 32_767)]}
    with pytest.raises(InputError, match="the image has more than 178,956,970 px"):
        read(mask, size=(32_767, 32_767), images=False)
    with pytest.raises(InputError, match="far outside its image of 60 x 40 px"):
        read(mask, size=(32_767, 32_767))


def test_an_outline_is_measured_in_the_sides_of_the_box(read):
    beside = {"bbox": [0, 0, 50, 40], "segmentation": [[0, 0, 50, 0, 50, 40]]}
    with pytest.raises(InputError, match=r"times as long as the sides of the box \[0, 0, 1, 1\]"):
        read({"bbox": [0, 0, 1, 1], "segmentation": [zigzag(5000, 40)]}, beside)
    read({"bbox": [0, 0, 40, 40], "segmentation": [zigzag(5000, 40)]}, beside)


def test_an_outline_is_measured_at_the_size_of_the_image(read):
    fits = [{"bbox": [0, 0, 6, 4], "segmentation": [[0, 0, 6, 0, 6, 4]]}] * 10
    long = {"bbox": [0, 0, 4, 4], "segmentation": [zigzag(12_000, 4)]}  # 60,000 px
    dataset = read(*fits, long, size=(6, 4), name="large.png")  # does not look at an image that they fit
    with pytest.raises(InputError, match=r"the outline is \d{7} px long"):
        check_images(dataset, lambda items, total: items)


def test_rle_of_another_size_than_its_frame_is_not_decoded(read):
    rle = {"size": [10**5, 10**5], "counts": [10**10]}
    with pytest.raises(InputError, match=r"segmentation.size: \[100000, 100000\] is not"):
        read({"bbox": [0, 0, 9, 9], "segmentation": rle}, name="turned.jpg")


@pytest.mark.parametrize("name", ["a\0/b.png", "\ud800/b.png", "a" * 300 + "/b.png", "a" * 300])
def test_impossible_file_names(read, name):
    with pytest.raises(InputError, match="contains none of the images"):
        read({"bbox": [0, 0, 9, 9]}, name=name)
