"""Images that are removed before they are evaluated."""

import logging
from itertools import chain

import pytest

from mvit_det.detectron2.data.test_loader import build_test_loader
from mvit_det.errors import ImageError, InputError

SAMPLES = [{"file_name": f"{number}.png"} for number in range(4)]


def read(sample):
    if sample["file_name"] == "1.png":
        raise InputError("1.png: no such image")
    return sample


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_they_are_left_out(batch_size, num_workers, caplog):
    loader = build_test_loader(
        SAMPLES, mapper=read, skip_unreadable=True, batch_size=batch_size, num_workers=num_workers
    )
    batches = list(loader)
    assert all(batches)  # no empty one
    assert [sample["file_name"] for sample in chain(*batches)] == ["0.png", "2.png", "3.png"]
    assert len(loader) == 4 // batch_size
    if num_workers == 0:
        assert "1.png: no such image; the evaluation counts it as an image without detections" in caplog.text


def test_without_the_option_one_is_an_error():
    with pytest.raises(ImageError, match="^1.png: no such image$"):
        list(build_test_loader(SAMPLES, mapper=read))


def test_all_of_them_are_an_error(caplog):
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(ImageError, match="1.png: no such image; none of the images before it"):
        list(build_test_loader([SAMPLES[1]] * 3, mapper=read, skip_unreadable=True))
