"""Images as a stream: their order and their errors."""

import pytest
from PIL import Image

from mvit_det.data.frame_sources import find_images
from mvit_det.data.frames import read_ahead, read_frames
from mvit_det.errors import ImageError


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
    frames = read_frames(images)
    assert [next(frames).name for _ in range(7)] == list(images)[:7]
    with pytest.raises(ImageError, match=r"07\.png: is not an image"):
        next(frames)


def test_items_are_taken_ahead_and_errors_arrive_in_their_place():
    def numbers():
        yield from range(20)
        raise ImageError("twenty-one")

    items = read_ahead(numbers())
    assert [next(items) for _ in range(20)] == list(range(20))
    with pytest.raises(ImageError, match="twenty-one"):
        next(items)
