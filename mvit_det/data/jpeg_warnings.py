"""Warnings of libjpeg, which decodes a damaged JPEG with gray or shifted parts instead of refusing it."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

# Pillow discards these warnings. libjpeg inside OpenCV prints them to stderr, so it runs in another process,
# in which nothing else is printed. Reducing the image skips most of the work besides decoding the file.
_PROGRAM = """
import os, sys, cv2
cv2.setNumThreads(1)
for path in sys.stdin.buffer:
    cv2.imread(os.fsdecode(path[:-1]), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    os.write(2, b"\\0\\n")
"""
_END = b"\0\n"


class JpegReader:
    """Reads JPEG images in another process, and returns the warnings that libjpeg prints.

    The process starts with the first image. Several threads may use the reader; they take turns.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def warning(self, path: Path) -> str:
        """Return the first warning for an image, or an empty string.

        It is empty too if the process has ended, because the image itself can be used.
        """
        if "\n" in str(path):  # paths are sent one per line
            return ""
        with self._lock:
            if self._process is None:
                self._process = _start()
            assert self._process.stdin is not None
            assert self._process.stderr is not None
            try:
                self._process.stdin.write(os.fsencode(os.path.abspath(path)) + b"\n")
                self._process.stdin.flush()
            except OSError:
                return ""
            return _first_warning(self._process.stderr)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],  # without -P, it would import from the working directory
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OPENCV_LOG_LEVEL": "OFF"},
        start_new_session=True,  # Ctrl-C does not reach it; it ends with its standard input
    )


def _first_warning(lines: IO[bytes]) -> str:
    """Read the lines up to the end of an image, and return the first."""
    first = ""
    for line in lines:
        if line.endswith(_END):
            return first
        first = first or line.decode(errors="replace").strip()
    return ""
