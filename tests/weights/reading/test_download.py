"""A URL is downloaded once, and only complete weight files are cached."""

import contextlib
import hashlib
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file

from mvit_det import build_mvit
from mvit_det.errors import InputError
from mvit_det.weights import load_weights, local_file
from mvit_det.weights.reading import download

OK = b"HTTP/1.0 200 OK\r\n"
PARTS = {  # path -> what the server sends first, and then a thousand times, every so many seconds
    "endless": (OK + b"\r\n", 0, b"x" * 10_000),
    "large": (OK + b"Content-Length: 9999999\r\n\r\n", 1, b""),
    "silent": (b"", 0.1, b""),
    "slow_headers": (OK + b"X: ", 0.1, b"x"),
    "slow": (OK + b"\r\n", 0.1, b"x"),
}


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, closes the connection early below /half, and records the paths of requests."""

    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path.startswith("/half"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 500)
        elif part := next((each for each in PARTS if self.path.startswith(f"/{each}/")), None):
            headers, interval, content = PARTS[part]
            with contextlib.suppress(OSError):  # the client closes the connection
                self.wfile.write(headers)
                for _ in range(1000):
                    self.wfile.write(content)
                    time.sleep(interval)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Yield a server of ``tmp_path/web``, with the cache in ``tmp_path/hub``."""
    (tmp_path / "web/deep").mkdir(parents=True)
    save_file(build_mvit("mvitv2_nano").state_dict(), tmp_path / "web/deep/nano.safetensors")
    (tmp_path / "web/page.pth").write_text("<html>sorry</html>")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    handler = partial(Handler, directory=tmp_path / "web")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.paths = []
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def test_a_url_is_downloaded_once(server, tmp_path):
    url = f"{server.url}/deep/nano.safetensors"
    for _ in range(2):
        report = load_weights(build_mvit("mvitv2_nano"), url)
    assert not report.missing
    assert server.paths == ["/deep/nano.safetensors"]
    cached = local_file(url)
    assert cached.is_relative_to(tmp_path / "hub/mvit_det")
    assert [path.name for path in cached.parent.iterdir()] == ["nano.safetensors"]


def test_different_urls_are_cached_separately(server):
    urls = [f"{server.url}/deep/nano.safetensors?{query}" for query in ("", "id=1", "id=2")]
    assert len({local_file(url) for url in urls}) == 3
    assert len(server.paths) == 3


def test_a_digest_is_checked(server, tmp_path):
    url = f"{server.url}/deep/nano.safetensors"
    digest = hashlib.sha256((tmp_path / "web/deep/nano.safetensors").read_bytes()).hexdigest()
    assert local_file(f"{url}#sha256={digest}").is_file()
    with pytest.raises(InputError, match=f"has the digest {digest}, not that of .*; delete it"):
        local_file(f"{url}#sha256={'0' * 64}")
    with pytest.raises(InputError, match="expected sha256= and 64 hexadecimal digits"):
        local_file(f"{url}#md5=00")


def test_detectron2_urls_point_to_its_storage(server, monkeypatch):
    monkeypatch.setattr(download, "DETECTRON2_URL", f"{server.url}/")
    assert local_file("detectron2://deep/nano.safetensors").is_file()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/page.pth", r"/page.pth: is a web page"),
        ("/none.pth", r"/none.pth: cannot be downloaded: HTTP Error 404"),
        ("/half.pth", r"/half.pth: the download ended after 500 of 1,000 bytes"),
    ],
)
def test_incomplete_or_other_files_are_not_cached(path, words, server, tmp_path):
    with pytest.raises(InputError, match=words):
        local_file(server.url + path)
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]


def test_other_urls_are_refused(tmp_path):
    assert local_file(tmp_path / "a.pth") == tmp_path / "a.pth"
    with pytest.raises(InputError, match="s3://bucket/a.pth: expected a path, http://"):
        local_file("s3://bucket/a.pth")
    for url in ("http://127.0.0.1:9/a.pth", "http://127.0.0.1:9/", "http://[bad/a.pth", "http://a b/c"):
        with pytest.raises(InputError, match="cannot be downloaded"):
            local_file(url)


def test_downloads_are_bounded_in_size_and_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 2**20)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    for path, words in (
        ("endless", "has more than 1,048,576 bytes"),
        ("large", "has 9,999,999 bytes; expected at most 1,048,576"),
        ("silent", "cannot be downloaded"),
        ("slow_headers", "the server does not answer"),
        ("slow", "arrives too slowly"),
    ):
        with pytest.raises(InputError, match=words):
            local_file(f"{server.url}/{path}/a.pth")
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]


def test_names_of_urls_stay_in_the_cache(server):
    with pytest.raises(InputError, match="leads out of Detectron2's model zoo"):
        local_file("detectron2://a/%2e%2e/../b.pkl")
    for name in ("..", "a" * 300):
        with pytest.raises(InputError, match="HTTP Error 404|is a web page"):
            local_file(f"{server.url}/none/{name}")
