"""Only regular files of a bounded size are opened, so that no reader waits or reads without end."""

import json
import os
import socket

import pytest
from PIL import Image

from mvit_det.data.images import check_image, read_image, read_size
from mvit_det.data.input_files import read_limited
from mvit_det.data.json_files import growing_json_list, read_json
from mvit_det.errors import InputError
from mvit_det.weights.reading import read_config, read_file


@pytest.fixture(params=["pipe", "socket", "device", "folder", "long", "null"])
def path(request, tmp_path):
    path = tmp_path / f"{request.param}.json"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        server = socket.socket(socket.AF_UNIX)
        os.chdir(tmp_path)  # the path of a socket is at most 108 characters long
        server.bind(path.name)
        server.close()  # the file remains
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "long":
        path = tmp_path / f"{'a' * 300}.json"
    else:
        path = tmp_path / "a\0.json"
    return path


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "read",
    [
        *(read_image, read_size, check_image, read_file, read_config),
        lambda path: read_json(path, dict, "an object"),
    ],
)
def test_only_regular_files_are_read(read, path):
    with pytest.raises(InputError) as error:
        read(path)
    assert "\n" not in str(error.value)


def test_files_have_a_limit(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match="has 1,001 bytes; expected labels of at most 1,000"):
        read_limited(tmp_path / "a.txt", "labels", 1000)
    with open(tmp_path / "sparse.json", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="expected a JSON file of at most"):
        read_json(tmp_path / "sparse.json", dict, "an object")


def test_nesting_has_a_limit(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": ' + "[" * 70 + "]" * 70 + "}")
    with pytest.raises(InputError, match="nested 71 levels deep; expected at most 64"):
        read_json(path, dict, "an object")
    path.write_text('{"a": "' + "[\\\\{" * 70 + '"}')  # brackets in a string
    assert read_json(path, dict, "an object")["a"].startswith("[\\{")


def test_decoders_that_run_programs_are_not_used(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")  # Pillow looks at the content, and would run Ghostscript
    with pytest.raises(InputError, match="is not an image"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("items", [[], [{"a": 1}], [1.5, float("nan"), {"b": [None]}]])
def test_a_growing_list_is_the_json_of_the_whole_list(items, tmp_path):
    path, other = tmp_path / "list.json", tmp_path / "object.json"
    with growing_json_list(path) as append, growing_json_list(other, {"c": 3, "list": []}) as append_other:
        for item in items:
            append(item)
            append_other(item)
        assert not path.exists()
    expected = [None if item != item else item for item in items]
    assert json.loads(path.read_text()) == expected
    assert json.loads(other.read_text()) == {"c": 3, "list": expected}


def test_a_growing_list_that_is_interrupted_leaves_the_earlier_file(tmp_path):
    def write():
        with growing_json_list(tmp_path / "list.json") as append:
            append(1)
            raise KeyboardInterrupt

    (tmp_path / "list.json").write_text("[7]")
    with pytest.raises(KeyboardInterrupt):
        write()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["[7]"]
