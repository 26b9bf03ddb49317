"""Downloads of images and videos from a server on this machine."""

import errno
import ssl
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mvit_det.data import downloads, frames
from mvit_det.data.downloads import download
from mvit_det.data.frame_sources import find_images, open_source_video
from mvit_det.data.frames import read_frames
from mvit_det.errors import ImageError, InputError
from tests.file_server import serve
from tests.videos import shades, write_video


@pytest.fixture
def server(tmp_path):
    with serve(tmp_path) as server:
        yield server


def test_images_and_broken_urls_are_told_apart(server, tmp_path):
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "page.html").write_text("<html>")
    urls = [f"{server.url}/{name}" for name in ("a.png", "none.png", "page.html")]
    errors = []
    (frame,) = read_frames(find_images(urls), errors.append)
    assert (frame.path, frame.name) == (urls[0], "127.0.0.1/a.png")
    assert np.array_equal(frame.image, np.full((3, 4, 3), (1, 2, 3)))
    assert list(map(str, errors)) == [
        f"{urls[1]}: cannot be downloaded: HTTP Error 404: Not Found",
        f"{urls[2]}: is not an image",
    ]
    with pytest.raises(ImageError, match=r"page\.html: is not an image"):
        list(read_frames(find_images([urls[2]])))


def test_a_video_is_read_and_its_file_removed(server, tmp_path, monkeypatch):
    write_video(tmp_path / "clip.avi", shades(3))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    video = open_source_video(f"{server.url}/clip.avi")
    assert [frame.name for frame in video.frames] == ["clip.avi#1", "clip.avi#2", "clip.avi#3"]
    assert video.source == f"{server.url}/clip.avi"
    del video
    (tmp_path / "bad.avi").write_text("no video")
    with pytest.raises(InputError, match=r"^http://.*/bad\.avi: is not a video that can be read"):
        open_source_video(f"{server.url}/bad.avi")
    assert not list((tmp_path / "temporary").iterdir())


def test_a_download_that_breaks_off_is_an_error(server, tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(1000))
    server.break_after = 400
    with pytest.raises(ImageError, match=r"/a\.png: the download ended after 400 of 1,000 bytes"):
        list(read_frames({"a.png": f"{server.url}/a.png"}))


@pytest.mark.parametrize("states_size", [True, False])
def test_a_large_file_is_refused(server, tmp_path, monkeypatch, states_size):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.bmp")
    server.states_size = states_size
    monkeypatch.setattr(frames, "MAX_IMAGE_BYTES", 1000)
    with pytest.raises(ImageError, match="has more than 1,000 bytes, which may be downloaded at most"):
        list(read_frames({"a.bmp": f"{server.url}/a.bmp"}))


def test_a_server_that_stops_sending_is_not_waited_for(server, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(bytes(1000))
    server.pause_after = 10
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    with pytest.raises(InputError, match=r"/a\.bin: cannot be downloaded: timed out"):
        download(f"{server.url}/a.bin", tmp_path / "copy", 10_000)


def test_errors_of_the_connection_and_of_the_disk_are_told_apart(tmp_path, monkeypatch):
    def fail(size):
        raise error

    response = nullcontext(SimpleNamespace(headers={}, read1=fail))
    monkeypatch.setattr(downloads, "urlopen", lambda *_, **__: response)
    error = ssl.SSLError("record layer failure")
    with pytest.raises(InputError, match=r"^https://a/b: cannot be downloaded: .*record layer failure"):
        download("https://a/b", tmp_path / "b", 1000)
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left on device"):
        download("https://a/b", tmp_path / "b", 1000)


def test_a_server_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match=r"^http://127.0.0.1:1/a: cannot be downloaded: .*refused"):
        download("http://127.0.0.1:1/a", tmp_path / "a", 1000)
    with pytest.raises(InputError, match=r"^http://a:b/c: .*port"):
        download("http://a:b/c", tmp_path / "a", 1000)
