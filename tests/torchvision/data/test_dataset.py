from collections import Counter

import pytest
import torch
from torchvision import tv_tensors

from mvit_det.data.annotations import read_coco
from mvit_det.errors import InputError
from mvit_det.torchvision.data.dataset import AspectRatioBatches, CocoPictures


@pytest.fixture
def pictures(coco_folder):
    return CocoPictures(read_coco(coco_folder / "data.json"), coco_folder / "images")


def test_objects_of_a_picture(pictures):
    assert pictures.ids == [3, 7]
    image, target = pictures[1]
    assert image.shape == (3, 40, 60)
    assert image.dtype == torch.uint8
    assert target["image_id"] == 7
    assert target["labels"].tolist() == [2, 1]  # category ids 90 and 4; the crowd is left out
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
    assert target["boxes"].tolist() == [[10, 5, 30, 15], [30, 0, 60, 40]]
    assert target["masks"].flatten(1).sum(1).tolist() == [200, 1200]
    assert target["masks"][0, 5:15, 10:30].all()


def test_a_picture_without_objects(pictures):
    _, target = pictures[0]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    assert target["labels"].dtype == torch.int64
    assert target["masks"].shape == (0, 50, 30)


def test_a_damaged_picture_is_named(pictures, coco_folder):
    (coco_folder / "images" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png: is empty"):
        pictures[1]


def test_batches_are_of_like_shape_and_cover_every_picture():
    ratios = [1.5] * 13 + [0.7] * 11
    batches = AspectRatioBatches(ratios, batch_size=4)
    found = list(batches)
    assert len(found) == len(batches) == 6
    assert {len(batch) for batch in found} == {4}
    assert sorted(sum(found, [])) == list(range(24))
    mixed = [batch for batch in found if len({ratios[i] > 1 for i in batch}) == 2]
    assert len(mixed) == 1  # 13 and 11 are no multiples of 4


def test_a_short_set_is_repeated_to_whole_steps():
    found = list(AspectRatioBatches([1.0] * 3, batch_size=4, accumulate=2))
    assert [len(batch) for batch in found] == [4, 4]
    assert sorted(Counter(sum(found, [])).values()) == [2, 3, 3]


def test_processes_share_an_epoch():
    ratios = [1.5, 0.5] * 10
    shares = [
        list(AspectRatioBatches(ratios, batch_size=2, rank=rank, world_size=2, seed=3)) for rank in (0, 1)
    ]
    assert [len(share) for share in shares] == [5, 5]
    assert sorted(sum(shares[0] + shares[1], [])) == list(range(20))


def test_epochs_differ_and_come_again_by_their_seed():
    batches = AspectRatioBatches([1.0] * 32, batch_size=4, seed=1)
    first = list(batches)
    batches.set_epoch(1)
    second = list(batches)
    batches.set_epoch(0)
    assert first != second
    assert list(batches) == first
