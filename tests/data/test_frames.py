"""Images as a stream: their names, their order and their errors."""

import os

import pytest
from PIL import Image

from mvit_det.data.frames import find_images, find_video, open_video, read_frames
from mvit_det.errors import ImageError, InputError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_images_of_a_folder_and_the_folders_within_it_are_named_by_their_path(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/a.jpg", "notes.txt"):
        touch(tmp_path / "photos" / name)
    photos = tmp_path / "photos"
    assert find_images([photos]) == {name: photos / name for name in ("a.jpg", "b.PNG", "sub/a.jpg")}


def test_hidden_files_and_the_output_are_left_out(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".cache/b.jpg", "out/pictures/a.jpg"):
        touch(tmp_path / name)
    assert list(find_images([tmp_path], left_out=tmp_path / "out")) == ["a.jpg"]


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


def test_a_video_is_the_only_source(tmp_path):
    video, image = tmp_path / "a.MP4", tmp_path / "a.png"
    assert find_video([video]) == video
    assert find_video([image, tmp_path]) is None
    (tmp_path / "folder.mp4").mkdir()
    assert find_video([tmp_path / "folder.mp4"]) is None
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is a pipe, a socket or a device; expected a video"):
        open_video(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"a\.MP4: is a video, which must be the only source"):
        find_video([image, video])


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
