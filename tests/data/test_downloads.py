"""Downloads of images and videos from a server on this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from mvit_det.data import downloads, frames
from mvit_det.data.downloads import download
from mvit_det.data.frame_sources import find_images, open_source_video
from mvit_det.data.frames import read_frames
from mvit_det.errors import ImageError, InputError
from tests.videos import shades, write_video


@pytest.fixture
def server(tmp_path):
    """The URL of a server of the files in ``tmp_path``, which does as the query of a URL says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = tmp_path / self.path.partition("?")[0].lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            self.send_response(200)
            if "unknown" not in self.path:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if "wait" in self.path:
                self.wfile.write(content[:10])
                self.wfile.flush()
                waiting.wait(20)
            self.wfile.write(content[: len(content) // 2] if "short" in self.path else content)

        def log_message(self, *_):
            pass

    waiting = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    waiting.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_images_and_broken_urls_are_told_apart(server, tmp_path):
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "page.html").write_text("<html>")
    urls = [f"{server}/{name}" for name in ("a.png", "none.png", "page.html", "a.png?short")]
    errors = []
    (frame,) = read_frames(find_images(urls), errors.append)
    assert (frame.path, frame.name) == (urls[0], "127.0.0.1/a.png")
    assert np.array_equal(frame.image, np.full((3, 4, 3), (1, 2, 3)))
    size = (tmp_path / "a.png").stat().st_size
    assert list(map(str, errors)) == [
        f"{urls[1]}: cannot be downloaded: HTTP Error 404: Not Found",
        f"{urls[2]}: is not an image",
        f"{urls[3]}: the download ended after {size // 2} of {size} bytes",
    ]
    with pytest.raises(ImageError, match=r"page\.html: is not an image"):
        list(read_frames(find_images([urls[2]])))


def test_a_video_is_read_and_its_file_removed(server, tmp_path, monkeypatch):
    write_video(tmp_path / "clip.avi", shades(3))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    video = open_source_video(f"{server}/clip.avi")
    assert [frame.name for frame in video.frames] == ["clip.avi#1", "clip.avi#2", "clip.avi#3"]
    assert video.source == f"{server}/clip.avi"
    del video
    (tmp_path / "bad.avi").write_text("no video")
    with pytest.raises(InputError, match=r"^http://.*/bad\.avi: is not a video that can be read"):
        open_source_video(f"{server}/bad.avi")
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("query", ["?", "?unknown"])
def test_a_large_file_is_refused(server, tmp_path, monkeypatch, query):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.bmp")
    monkeypatch.setattr(frames, "MAX_IMAGE_BYTES", 1000)
    with pytest.raises(ImageError, match="has more than 1,000 bytes, which may be downloaded at most"):
        list(read_frames({"a.bmp": f"{server}/a.bmp{query}"}))


def test_a_server_that_stops_sending_is_not_waited_for(server, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(bytes(1000))
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    with pytest.raises(InputError, match=r"/a\.bin\?wait: cannot be downloaded: timed out"):
        download(f"{server}/a.bin?wait", tmp_path / "copy", 10_000)


def test_a_server_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match=r"^http://127.0.0.1:1/a: cannot be downloaded: .*refused"):
        download("http://127.0.0.1:1/a", tmp_path / "a", 1000)
    with pytest.raises(InputError, match=r"^http://a:b/c: .*port"):
        download("http://a:b/c", tmp_path / "a", 1000)
