"""Files that are complete or absent: after errors, interrupts, kills and on a full disk."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mvit_det.errors import InputError, RunError
from mvit_det.files import (
    check_space,
    readable_size,
    remove_temporary_files,
    replaced_file,
    write_file,
)

ROOT = Path(__file__).parents[1]
NUM_BYTES = 2_000_000
# Writes a file of equal bytes again and again, with other bytes each time.
WRITER = f"""
import sys
from pathlib import Path
from mvit_det.files import write_file
for number in range(10**9):
    write_file(Path(sys.argv[1]), bytes([97 + number % 26]) * {NUM_BYTES})
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_file(path, b"one")
    with replaced_file(path) as file:
        file.write(b"tw")
        assert path.read_bytes() == b"one"
        assert len(names(path.parent)) == 2
        file.write(b"o")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["a.txt"]
    write_file(path, b"three", durable=False)
    assert path.read_bytes() == b"three"


def test_the_permissions_are_those_of_a_new_file(tmp_path):
    write_file(tmp_path / "a", b"")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_the_target_of_a_symbolic_link_is_replaced(tmp_path):
    write_file(tmp_path / "target", b"one")
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"two"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_exception_leaves_the_earlier_file(tmp_path, error):
    write_file(tmp_path / "a", b"one")

    def write(file):
        file.write(b"two")
        raise error

    with pytest.raises(error), replaced_file(tmp_path / "a") as file:
        write(file)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no_links"])
def test_the_earlier_file_is_kept_under_another_name(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    last, previous = tmp_path / "last", tmp_path / "previous"
    for content, earlier in ((b"1", None), (b"2", b"1"), (b"3", b"2")):
        with replaced_file(last, keep_as=previous) as file:
            file.write(content)
        assert last.read_bytes() == content
        assert (previous.read_bytes() if previous.exists() else None) == earlier
    if links:  # as after a kill between the two renames
        previous.unlink()
        os.link(last, previous)
        with replaced_file(last, keep_as=previous) as file:
            file.write(b"4")
        assert (last.read_bytes(), previous.read_bytes()) == (b"4", b"3")
    assert names(tmp_path) == ["last", "previous"]


@pytest.mark.parametrize("name", ["a/b", "folder", "x" * 300])
def test_a_name_that_is_not_possible_is_bad_input(tmp_path, name):
    (tmp_path / "a").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written: (.*/a is a file|Is a dir|File name too long)"):
        write_file(tmp_path / name, b"")
    assert names(tmp_path) == ["a", "folder"]


def test_a_file_that_does_not_fit_is_one_line_with_the_needed_and_the_free_space(tmp_path):
    path = tmp_path / "a"
    write_file(path, b"one")
    line = rf"^{path}: cannot be written: No space left on device: 1,000 TB needed, .* free in {tmp_path}; "
    with pytest.raises(RunError, match=f"{line}the existing file is unchanged$"):
        check_space(path, 10**15)
    with pytest.raises(RunError, match=line), replaced_file(path, size=10**15):
        pytest.fail("nothing should be written")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("size", [None, 200_000])
def test_a_write_that_the_system_refuses_leaves_nothing(tmp_path, size):
    path = tmp_path / "a"
    write_file(path, b"one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError) as caught, replaced_file(path, size=size) as file:
            file.write(bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "a: cannot be written: File too large: " in str(caught.value)
    assert "(ulimit -f)" in str(caught.value)
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_the_error_behind_that_of_a_library_is_found(tmp_path):
    def save(file):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 3 vs 2")  # noqa: B904 (as torch raises it)

    message = "a: cannot be written: No space left on device"
    with pytest.raises(RunError, match=message), replaced_file(tmp_path / "a") as file:
        save(file)
    assert names(tmp_path) == []


@pytest.mark.slow
def test_a_killed_process_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a"
    for pause in (0, 0.003, 0.01, 0.02, 0.031):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        before = path.stat().st_mtime_ns if path.exists() else None
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = path.read_bytes()
        assert content == content[:1] * NUM_BYTES
    remove_temporary_files(tmp_path)
    assert names(tmp_path) == ["a"]


def test_only_temporary_files_are_removed(tmp_path):
    kept = ["a.part", ".hidden.part", "run.json", "download.mp4.part"]
    removed = [".last.ckpt.0123abcd.part", "run.json.part", "model_best.tmp"]
    for name in (*kept, *removed):
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path)
    assert names(tmp_path) == sorted(kept)
    remove_temporary_files(tmp_path / "none")


def test_sizes_are_readable():
    expected = {0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 999_600: "1 MB", 35_234_000: "35.2 MB"}
    expected |= {2_500_000_000: "2.5 GB"}
    assert {size: readable_size(size) for size in expected} == expected
