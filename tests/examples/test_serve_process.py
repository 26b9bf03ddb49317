"""The HTTP service of ``examples/serve`` in a process of its own, and its load test."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs fastapi: pip install 'mvit_det[dev]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'mvit_det[dev]'")

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "examples" / "serve"


@pytest.fixture
def server(exported):
    """A server in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, SERVE / "app.py", exported, "--port", "0", "--threads", "1"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        lines = iter(process.stderr.readline, "")
        yield (
            process,
            next(int(found[1]) for line in lines if (found := re.search(r"//127.0.0.1:(\d+)", line))),
        )
        process.kill()


def test_a_request_in_progress_is_completed_after_sigterm(server, white_png):
    process, port = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/detect")
    connection.putheader("Content-Length", str(len(white_png)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")  # the service waits for the body
    process.send_signal(signal.SIGTERM)
    assert any("Shutting down" in line for line in process.stderr)
    connection.send(white_png)
    assert len(json.load(connection.getresponse())["detections"]) == 2
    process.wait(60)
    assert "Traceback" not in process.stderr.read()


def test_the_load_test_counts_answers_and_errors(server, white_png, tmp_path):
    (tmp_path / "good.png").write_bytes(white_png)
    (tmp_path / "bad.png").write_bytes(b"garbage")

    def run_load_test(*names):
        url = f"http://127.0.0.1:{server[1]}/detect"
        command = [sys.executable, SERVE / "load_test.py", *names, "--url", url, "--requests", "5"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    status, output = run_load_test("good.png")
    assert status == 0
    assert re.fullmatch(
        r"5 answers, 0 failed, \d+\.\d\d images/s\n"
        r"latency: p50 \d+\.\d{3} s, p95 \d+\.\d{3} s, p99 \d+\.\d{3} s\n",
        output,
    )
    status, output = run_load_test("good.png", "bad.png")
    assert status == 1
    assert output.startswith("3 answers, 2 failed, ")
    assert "\n2 x 415: " in output


def test_a_folder_without_an_export_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, SERVE / "app.py", "none"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "none/detector.json: no such file; expected the folder that mvit-det export wrote"
    assert (done.returncode, done.stderr) == (2, f"app.py: error: {expected}\n")
