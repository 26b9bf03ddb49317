from collections import Counter

from mvit_det.torchvision.data.batching import AspectRatioBatchSampler


def test_batches_group_similar_aspect_ratios_and_cover_every_image():
    ratios = [1.5] * 13 + [0.7] * 11
    sampler = AspectRatioBatchSampler(ratios, batch_size=4)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 6
    assert {len(batch) for batch in batches} == {4}
    assert sorted(sum(batches, [])) == list(range(24))
    mixed = [batch for batch in batches if len({ratios[i] > 1 for i in batch}) == 2]
    assert len(mixed) == 1  # 13 and 11 are not multiples of 4


def test_a_small_data_set_is_repeated_to_whole_steps():
    batches = list(AspectRatioBatchSampler([1.0] * 3, batch_size=4, accumulate=2))
    assert [len(batch) for batch in batches] == [4, 4]
    assert sorted(Counter(sum(batches, [])).values()) == [2, 3, 3]


def test_processes_share_an_epoch():
    ratios = [1.5, 0.5] * 10
    shares = [
        list(AspectRatioBatchSampler(ratios, batch_size=2, rank=rank, world_size=2, seed=3))
        for rank in (0, 1)
    ]
    assert [len(share) for share in shares] == [5, 5]
    assert sorted(sum(shares[0] + shares[1], [])) == list(range(20))


def test_the_order_follows_from_the_seed_and_the_epoch():
    sampler = AspectRatioBatchSampler([1.0] * 32, batch_size=4, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first != second
    assert list(sampler) == first
