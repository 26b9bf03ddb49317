import pytest

from mvit_det.data.batches import apply_in_batches


def batches_of(items, batch_size=3):
    """Return the batches to which a function is applied, and check that the results are in order."""
    batches = []

    def double(batch):
        batches.append(batch)
        return [2 * item for item in batch]

    results = list(apply_in_batches(double, items, batch_size, key=lambda item: item % 2))
    assert results == [(item, 2 * item) for item in items]
    return batches


def test_batches_have_one_key():
    assert batches_of([0, 2, 4, 6, 1, 8]) == [[0, 2, 4], [6, 8], [1]]
    assert batches_of([1]) == [[1]]
    assert batches_of([]) == []


def test_results_come_after_one_batch():
    numbers = iter(range(0, 100, 2))
    results = apply_in_batches(list, numbers, 2, key=lambda item: item % 2)
    assert next(results) == (0, 0)
    assert next(numbers) == 4


def test_an_error_comes_after_the_results_of_the_items_before_it():
    def items():
        yield from (0, 2, 4)
        raise ValueError("damaged")

    results = apply_in_batches(list, items(), 2, key=lambda item: item % 2)
    assert [next(results) for _ in range(3)] == [(0, 0), (2, 2), (4, 4)]
    with pytest.raises(ValueError, match="damaged"):
        next(results)


def test_a_batch_has_an_item():
    with pytest.raises(ValueError, match="batch_size 0: must be at least 1"):
        list(apply_in_batches(list, [1], 0, key=int))
