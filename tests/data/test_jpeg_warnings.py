import os
import signal

import pytest
from PIL import Image

from mvit_det.data.jpeg_warnings import JpegReader

PREMATURE = "Corrupt JPEG data: premature end of data segment"


@pytest.fixture
def reader():
    reader = JpegReader()
    yield reader
    reader.close()


@pytest.fixture
def images(tmp_path):
    """A whole image and one whose second half is missing, which Pillow decodes without an error."""
    whole, half = tmp_path / "whole.jpg", tmp_path / "half ü.jpg"
    Image.effect_noise((64, 64), 50).save(whole)
    data = whole.read_bytes()
    half.write_bytes(data[: len(data) // 2] + data[-2:])
    Image.open(half).load()
    return whole, half


def test_each_warning_belongs_to_its_image(reader, images):
    whole, half = images
    assert [reader.warning(path) for path in (half, whole, half, whole)] == [PREMATURE, "", PREMATURE, ""]


def test_a_file_that_is_not_a_jpeg_does_not_stop_the_reader(reader, images, tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    assert reader.warning(tmp_path / "none.jpg") == ""
    reader.warning(tmp_path / "text.jpg")
    assert reader.warning(images[1]) == PREMATURE


def test_a_reader_that_was_killed_knows_of_no_warnings(reader, images):
    whole, half = images
    assert reader.warning(half) == PREMATURE
    os.kill(reader._process.pid, signal.SIGKILL)
    reader._process.wait()
    assert [reader.warning(path) for path in (half, whole)] == ["", ""]


def test_a_closed_reader_leaves_no_process(images):
    reader = JpegReader()
    reader.close()  # before the first image
    reader.warning(images[0])
    process = reader._process
    reader.close()
    assert process.returncode is not None


def test_modules_in_the_working_directory_are_not_imported(reader, images, tmp_path, monkeypatch):
    (tmp_path / "cv2.py").write_text("open('imported', 'w')")
    monkeypatch.chdir(tmp_path)
    assert reader.warning(images[1]) == PREMATURE
    assert not (tmp_path / "imported").exists()
