"""Images and frames as a stream: their names, errors, and batches."""

import os

import numpy as np
import pytest
from PIL import Image

from mvit_det.data.frames import WAITING, apply_in_batches, find_images, read_frames
from mvit_det.errors import ImageError, InputError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_images_of_a_folder_and_the_folders_within_it_are_named_by_their_path(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/a.jpg", "notes.txt"):
        touch(tmp_path / "photos" / name)
    photos = tmp_path / "photos"
    assert find_images([photos]) == {name: photos / name for name in ("a.jpg", "b.PNG", "sub/a.jpg")}


def test_several_sources_have_different_names(tmp_path):
    for name in ("one/a.jpg", "two/a.jpg", "two/deep/b.jpg"):
        touch(tmp_path / name)
    images = find_images([tmp_path / "one", tmp_path / "two" / "a.jpg", tmp_path / "two"])
    assert list(images) == ["one/a.jpg", "two/a.jpg", "two/deep/b.jpg"]
    assert list(find_images([tmp_path / "one/a.jpg"])) == ["a.jpg"]


def test_a_source_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="contains no images; expected .bmp"):
        find_images([tmp_path])
    with pytest.raises(InputError, match="none: no such file or folder"):
        find_images([tmp_path / "none"])
    with pytest.raises(InputError, match="no images: expected at least one"):
        find_images([])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="is a pipe, a socket or a device; expected an image, a folder"):
        find_images([tmp_path / "pipe.png"])


@pytest.fixture
def images(tmp_path):
    """20 images, of which each has its number as its value, and the seventh cannot be read."""
    for number in range(20):
        Image.new("RGB", (4, 3), (number,) * 3).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "07.png").write_bytes(b"damaged")
    return find_images([tmp_path])


def test_images_are_read_in_their_order(images):
    errors = []
    frames = list(read_frames(images, errors.append))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [n for n in range(20) if n != 7]
    assert [frame.name for frame in frames] == [name for name in images if name != "07.png"]
    (error,) = errors
    assert str(error) == f"{images['07.png']}: is not an image"


def test_an_image_that_cannot_be_read_ends_the_stream(images):
    read = []
    with pytest.raises(ImageError, match=r"07\.png: is not an image"):
        read += [frame.name for frame in read_frames(images)]
    frames = read_frames(images)
    assert [next(frames).name for _ in range(7)] == list(images)[:7]


def batched(items, batch_size=3):
    """Return the batches to which a function is applied, and the items as they come out."""
    batches = []

    def double(batch):
        batches.append(batch)
        return [2 * item for item in batch]

    results = list(apply_in_batches(double, items, batch_size, key=lambda item: item % 2))
    assert results == [(item, 2 * item) for item in items]  # in order
    return batches


def test_batches_have_one_key():
    assert batched([0, 2, 4, 6, 1, 8]) == [[0, 2, 4], [6, 8], [1]]
    assert batched([1]) == [[1]]
    assert batched([]) == []


def test_no_item_waits_for_many_others():
    items = [1] + [2 * number for number in range(3 * WAITING + 1)]
    batches = batched(items)
    assert batches.index([1]) == WAITING
    assert max(map(len, batches)) == 3


def test_results_come_before_all_items_are_read():
    numbers = iter(np.arange(0, 100, 2).tolist())
    results = apply_in_batches(list, numbers, 2, key=lambda item: item % 2)
    assert next(results) == (0, 0)
    assert next(numbers) == 4
