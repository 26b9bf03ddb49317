import pytest
from PIL import Image

from mvit_det.errors import ImageError
from mvit_det.export.images import frames_of_several_sizes, generated_frames


def test_generated_frames():
    first, second = list(generated_frames()), list(generated_frames())
    assert [frame.image.shape for frame in first] == [
        *((448, 448, 3), (480, 640, 3), (640, 400, 3), (300, 800, 3), (700, 250, 3))
    ]
    assert all((a.image == b.image).all() for a, b in zip(first, second, strict=True))
    assert len({frame.name for frame in first}) == 5


def write_image(folder, name, width, height):
    Image.new("RGB", (width, height), "green").save(folder / name)
    return {name: folder / name}


def test_images_of_five_sizes_are_taken_as_they_are(tmp_path):
    images = {}
    for n in range(5):
        images |= write_image(tmp_path, f"{n}.png", 20 + n, 30)
    assert [frame.name for frame in frames_of_several_sizes(images)] == [f"{n}.png" for n in range(5)]


def test_scaled_copies_of_images(tmp_path):
    (only,) = write_image(tmp_path, "a.png", 40, 20).items()
    result = list(frames_of_several_sizes(dict([only])))
    assert [frame.name for frame in result] == ["a.png", *["a.png, scaled"] * 4]
    assert [frame.image.shape[:2] for frame in result] == [(20, 40), (20, 30), (12, 40), (20, 20), (8, 40)]
    assert (result[4].image == (0, 128, 0)).all()


def test_an_image_of_one_pixel(tmp_path):
    assert len(list(frames_of_several_sizes(write_image(tmp_path, "a.png", 1, 1)))) == 1


def test_an_image_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"damaged")
    with pytest.raises(ImageError, match="a.png"):
        list(frames_of_several_sizes({"a.png": tmp_path / "a.png"}))
