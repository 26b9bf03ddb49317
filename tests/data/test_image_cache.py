import json
import os

import numpy as np
import pytest
from PIL import Image

from mvit_det.data.image_cache import ImageCache, read_images
from mvit_det.data.images import CheckedImage, ImageSize


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (6, 4)).save(tmp_path / "images" / name)
    return tmp_path / "images"


@pytest.fixture
def opened(monkeypatch):
    """The names of the images that are opened."""
    names = []
    original = Image.open

    def record(path, *args, **kwargs):
        names.append(path.name)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Image, "open", record)
    return names


def read(folder, *names):
    return read_images(folder, names, lambda items, total: items)


def png(*size, **warnings):
    return CheckedImage(ImageSize(*size), "PNG", warnings)


def test_an_image_is_read_again_only_after_a_change(folder, opened):
    assert read(folder, "a.png", "sub/b.png") == [png(6, 4), png(6, 4)]
    assert sorted(opened) == ["a.png", "b.png"]
    opened.clear()
    assert read(folder, "sub/b.png", "a.png") == [png(6, 4), png(6, 4)]
    assert opened == []
    Image.new("RGB", (5, 5)).save(folder / "a.png")
    os.utime(folder / "a.png", ns=(0, 1))
    assert read(folder, "a.png", "sub/b.png") == [png(5, 5), png(6, 4)]
    assert opened == ["a.png"]


def test_warnings_are_remembered(folder, opened):
    Image.effect_noise((64, 64), 50).save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2] + data[-2:])
    Image.fromarray(np.full((4, 6), 2000, np.uint16)).save(folder / "a.png")
    for _ in range(2):
        whole, half, deep = read(folder, "whole.jpg", "half.jpg", "a.png")
        assert whole == CheckedImage(ImageSize(64, 64), "JPEG", {})
        assert half.warnings == {"jpeg_warning": "Corrupt JPEG data: premature end of data segment"}
        assert list(deep.warnings) == ["low_range"]
    assert len(opened) == 3


def test_errors_are_not_remembered(folder):
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[:45])
    os.utime(folder / "a.png", ns=(0, 1))
    for _ in range(2):
        error, size = read(folder, "a.png", "sub/b.png")
        assert "is truncated or damaged" in str(error)
        assert size == png(6, 4)
    assert "no such image" in str(read(folder, "none.png")[0])


def test_records_of_other_processes_are_kept(folder):
    first, second = ImageCache(folder), ImageCache(folder)
    first.add("a.png", png(6, 4, 6))
    second.add("sub/b.png", png(6, 4))
    first.save()
    second.save()
    cache = ImageCache(folder)
    assert cache.find("a.png") == png(6, 4, 6)
    assert cache.find("sub/b.png") == png(6, 4)
    assert cache.find("none.png") is None


@pytest.mark.parametrize("contents", [b"", b"{", b"[1]", b'{"version": 1}', b"\xff", b"null"])
def test_a_damaged_cache_counts_as_empty(folder, tmp_path, contents):
    read(folder, "a.png")
    (path,) = (tmp_path / "cache" / "mvit_det").iterdir()
    record = json.loads(path.read_text())["images"]["a.png"]
    damaged = json.dumps({"version": 1, "folder": str(folder), "images": {"a.png": record[:3]}}).encode()
    for each in (contents, damaged):
        path.write_bytes(each)
        assert ImageCache(folder).find("a.png") is None
        assert read(folder, "a.png") == [png(6, 4)]
        assert ImageCache(folder).find("a.png") == png(6, 4)


def test_a_cache_that_cannot_be_written_is_ignored(folder, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    assert read(folder, "a.png") == [png(6, 4)]
