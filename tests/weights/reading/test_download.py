"""A file is downloaded once, a download that broke off is continued, and only checked files are cached."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

import mvit_det.files
from mvit_det import build_mvit
from mvit_det.errors import InputError, RunError
from mvit_det.weights.reading import download as download_module
from mvit_det.weights.reading import transfer
from mvit_det.weights.reading.download import download
from tests.file_server import serve

PIECE = 100_000  # bytes

DOWNLOAD = """
import sys
from huggingface_hub import constants
from mvit_det.weights.reading.download import download
constants.DOWNLOAD_CHUNK_SIZE = 10_000
download(sys.argv[1])
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Yield a server of ``tmp_path/web``, with the cache in ``tmp_path/hub``, and retries without pauses."""
    (tmp_path / "web").mkdir()
    save_file(build_mvit("mvitv2_nano").state_dict(), tmp_path / "web/nano.safetensors")
    (tmp_path / "web/page.pth").write_text("<html>sorry</html>")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    with serve(tmp_path / "web") as server:
        server.file_url = f"{server.url}/nano.safetensors"
        yield server


@pytest.fixture
def content(server, tmp_path):
    """Return the content of the file that is served."""
    content = (tmp_path / "web/nano.safetensors").read_bytes()
    assert len(content) > 3 * PIECE
    return content


@pytest.fixture
def cached(tmp_path):
    """Return a function that returns the files in the cache by name, without the locks."""

    def cached():
        files = (path for path in (tmp_path / "hub").rglob("*") if path.is_file())
        return {path.name: path for path in files if path.name != ".lock"}

    return cached


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_url_is_downloaded_once_and_silently(server, content, tmp_path, capfd):
    for _ in range(2):
        path = download(server.file_url)
    assert server.requests == [("HEAD", "/nano.safetensors", None), ("GET", "/nano.safetensors", None)]
    assert path.is_relative_to(tmp_path / "hub/mvit_det")
    assert path.name == "nano.safetensors"
    assert path.read_bytes() == content
    assert {each.name for each in path.parent.iterdir()} == {"nano.safetensors", ".lock"}
    assert "".join(capfd.readouterr()) == ""


def test_different_urls_are_cached_separately(server):
    urls = [f"{server.file_url}?{query}" for query in ("", "id=1", "id=2")]
    assert len({download(url) for url in urls}) == 3


def test_a_connection_that_breaks_off_is_continued(server, content):
    server.break_after = len(content) // 3 - 5_000
    assert download(server.file_url).read_bytes() == content
    first, *others = server.gets()
    starts = [int(each.removeprefix("bytes=").rstrip("-")) for each in others]
    assert first is None
    assert len(starts) == 3
    assert starts == sorted({*starts})
    assert starts[0] > server.break_after - 10_000  # at most one chunk is transferred again


def test_the_next_attempt_continues(server, content, cached):
    server.break_after, server.status_after_break = PIECE, 503
    with pytest.raises(
        InputError, match=r"ended after 100,000 of [\d,]+ bytes: HTTP status 503.*; try again"
    ):
        download(server.file_url)
    ((name, path),) = cached().items()
    assert name.endswith(".incomplete")
    assert path.read_bytes() == content[:PIECE]
    server.break_after = server.status = None
    server.requests.clear()
    assert download(server.file_url).read_bytes() == content
    assert server.gets() == ["bytes=100000-"]
    assert list(cached()) == ["nano.safetensors"]


def test_a_file_that_has_changed_on_the_server_is_not_continued(server, content, cached, tmp_path):
    server.break_after, server.status_after_break = PIECE, 503
    with pytest.raises(InputError, match="try again"):
        download(server.file_url)
    server.break_after = server.status = None
    os.utime(tmp_path / "web/nano.safetensors", (1, 1))
    server.requests.clear()
    assert download(server.file_url).read_bytes() == content
    assert server.gets() == [None]
    assert list(cached()) == ["nano.safetensors"]


def test_a_server_that_cannot_continue_starts_again_a_few_times(server, content, cached):
    server.continues, server.break_after = False, PIECE
    with pytest.raises(InputError, match="it broke off 6 times, and the server does not continue a download"):
        download(server.file_url)
    assert len(server.gets()) == 7
    assert not cached()


def test_a_server_may_answer_only_to_get(server, content, cached):
    server.answers_head = False
    server.break_after, server.status_after_break = PIECE, 503
    with pytest.raises(InputError, match="the download ended after 100,000 bytes: HTTP status 503"):
        download(server.file_url)
    assert not cached()  # nothing says whether the next response has the same content
    server.break_after = server.status = None
    assert download(server.file_url).read_bytes() == content


@pytest.mark.slow
def test_another_process_takes_over_when_the_first_is_killed(server, content, cached):
    server.pause_after = PIECE
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen([sys.executable, "-c", DOWNLOAD, server.file_url], env=environment)
    try:
        wait_for(lambda: any(path.stat().st_size == PIECE for path in cached().values()))
        with ThreadPoolExecutor() as pool:
            second = pool.submit(download, server.file_url)
            time.sleep(0.2)
            assert len(server.gets()) == 1  # the second one waits
            server.pause_after = None
            first.send_signal(signal.SIGKILL)
            assert second.result(60).read_bytes() == content
    finally:
        first.kill()
        first.wait()
    assert server.gets() == [None, "bytes=100000-"]
    assert list(cached()) == ["nano.safetensors"]


def test_two_downloads_at_once_transfer_the_file_once(server, content, cached):
    server.pause_after = PIECE
    with ThreadPoolExecutor() as pool:
        downloads = [pool.submit(download, server.file_url) for _ in range(2)]
        wait_for(server.gets)
        server.is_open.set()
        assert {each.result(60).read_bytes() for each in downloads} == {content}
    assert server.gets() == [None]


def test_the_digest_is_checked(server, content, cached):
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match=f"nano.safetensors: the download has the digest {digest}, not 000"):
        download(server.file_url, "0" * 64)
    assert not cached()
    assert download(server.file_url, digest) == download(server.file_url)
    with pytest.raises(InputError, match=f"has the digest {digest}, not 000.*; delete it and try again"):
        download(server.file_url, "0" * 64)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("page.pth", r"/page.pth: is a web page"),
        ("none.pth", r"/none.pth: cannot be downloaded: HTTP status 404 Not Found"),
        ("none/..", "HTTP status 404"),
        ("none/" + "a" * 300, "HTTP status 404"),
    ],
)
def test_other_files_are_not_cached(path, message, server, cached):
    with pytest.raises(InputError, match=message):
        download(f"{server.url}/{path}")
    assert not cached()


@pytest.mark.parametrize("address", ["127.0.0.1:9/a.pth", "127.0.0.1:9/", "[bad/a.pth", "a b/c"])
def test_without_a_connection_nothing_is_cached(address, server, cached):
    with pytest.raises(InputError, match="cannot be downloaded"):
        download(f"http://{address}")
    assert not cached()


def test_a_full_disk_is_named(server, content, cached, monkeypatch):
    with monkeypatch.context() as patch:
        usage = SimpleNamespace(total=10**9, free=1000)
        patch.setattr(mvit_det.files.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(RunError, match=r"cannot be written: No space left .* needed, 1 kB free"):
            download(server.file_url)
    assert server.gets() == []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE, hard))
    try:
        with pytest.raises(RunError, match=r"nano.safetensors: cannot be written: File too large"):
            download(server.file_url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not cached()


OK = b"HTTP/1.0 200 OK\r\n"


@pytest.mark.parametrize(
    ("timeout", "start", "interval", "part", "message"),
    [
        (30, OK + b"\r\n", 0, b"x" * 10_000, "has more than 1,048,576 bytes"),
        (
            30,
            OK + b"Content-Length: 9999999\r\n\r\n",
            1,
            b"",
            "has 9,999,999 bytes; expected at most 1,048,576",
        ),
        (0.5, b"", 0.1, b"", "cannot be downloaded: timed out"),
        (0.5, OK + b"X: ", 0.05, b"x", "the server does not answer|timed out"),
        (2, OK + b"\r\n", 0.05, b"x", "arrives too slowly: 0 bytes in"),
    ],
    ids=["endless", "large", "silent", "slow headers", "slow"],
)
def test_size_and_time_are_bounded(timeout, start, interval, part, message, cached, server, monkeypatch):
    class Raw(BaseRequestHandler):
        """Sends ``start``, and then ``part`` every ``interval`` seconds."""

        def handle(self):
            is_head = self.request.recv(2**16).startswith(b"HEAD")  # unread data would reset the connection
            with suppress(OSError):
                self.request.sendall(start)
                if is_head and start.endswith(b"\r\n\r\n"):
                    return
                for _ in range(200):
                    self.request.sendall(part)
                    time.sleep(interval)

    monkeypatch.setattr(download_module, "MAX_BYTES", 2**20)
    monkeypatch.setattr(transfer, "MAX_BYTES", 2**20)
    monkeypatch.setattr(transfer, "TIMEOUT", timeout)
    with ThreadingTCPServer(("127.0.0.1", 0), Raw) as raw:
        raw.daemon_threads = True
        threading.Thread(target=raw.serve_forever, args=(0.05,), daemon=True).start()
        try:
            with pytest.raises(InputError, match=message):
                download(f"http://127.0.0.1:{raw.server_address[1]}/a.pth")
        finally:
            raw.shutdown()
    assert not cached()
