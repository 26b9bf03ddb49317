from collections import Counter

from mvit_det.torchvision.data.batching import AspectRatioBatchSampler


def indexes(sampler):
    """Return the indexes of the images in each batch, without their positions."""
    return [[index for _, index in batch] for batch in sampler]


def test_batches_group_similar_aspect_ratios_and_cover_every_image():
    ratios = [1.5] * 13 + [0.7] * 11
    sampler = AspectRatioBatchSampler(ratios, batch_size=4)
    batches = indexes(sampler)
    assert len(batches) == len(sampler) == 6
    assert {len(batch) for batch in batches} == {4}
    assert sorted(sum(batches, [])) == list(range(24))
    mixed = [batch for batch in batches if len({ratios[i] > 1 for i in batch}) == 2]
    assert len(mixed) == 1  # 13 and 11 are not multiples of 4


def test_a_small_data_set_is_repeated_to_whole_steps():
    batches = indexes(AspectRatioBatchSampler([1.0] * 3, batch_size=4, accumulate=2))
    assert [len(batch) for batch in batches] == [4, 4]
    assert sorted(Counter(sum(batches, [])).values()) == [2, 3, 3]


def test_processes_share_an_epoch():
    ratios = [1.5, 0.5] * 10
    shares = [
        indexes(AspectRatioBatchSampler(ratios, batch_size=2, rank=rank, world_size=2, seed=3))
        for rank in (0, 1)
    ]
    assert [len(share) for share in shares] == [5, 5]
    assert sorted(sum(shares[0] + shares[1], [])) == list(range(20))


def test_the_order_follows_from_the_seed_and_the_epoch():
    sampler = AspectRatioBatchSampler([1.0] * 32, batch_size=4, seed=1)
    first = indexes(sampler)
    sampler.set_epoch(1)
    second = indexes(sampler)
    sampler.set_epoch(0)
    assert first != second
    assert indexes(sampler) == first


def test_a_resumed_run_continues_with_the_batches_of_the_unbroken_one():
    def batches_of_run(num_skipped, rank):
        sampler = AspectRatioBatchSampler([1.0, 0.5] * 6, batch_size=2, rank=rank, world_size=2, seed=1)
        sampler.skip(num_skipped)
        batches = []
        for epoch in range(sampler.epoch, 3):
            sampler.set_epoch(epoch)  # as Lightning does
            assert len(sampler) == 3
            batches += sampler
        return batches

    whole = [batches_of_run(0, rank) for rank in (0, 1)]
    positions = [position for share in whole for batch in share for position, _ in batch]
    assert sorted(positions) == list(range(36))  # each sample of the run has another
    for num_skipped in range(10):
        for rank in (0, 1):
            assert batches_of_run(num_skipped, rank) == whole[rank][num_skipped:]
