import pytest
import torch

from mvit_det.backbone.rel_pos import relative_positions


def rows(length, q_size, k_size):
    table = torch.arange(length, dtype=torch.float32)[:, None]
    return relative_positions(table, q_size, k_size)[..., 0].tolist()


def test_equal_sizes_count_distances_from_the_middle():
    assert rows(5, 3, 3) == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


def test_more_queries_than_keys():
    # distance = q - 2 k + 2, on the grid of the queries
    assert rows(7, 4, 2) == [[2, 0], [3, 1], [4, 2], [5, 3]]


def test_more_keys_than_queries():
    # distance = 2 q - k + 3, on the grid of the keys
    assert rows(7, 2, 4) == [[3, 2, 1, 0], [5, 4, 3, 2]]


def test_sizes_that_do_not_divide_round_towards_zero():
    # distance = q - 1.5 k + 1.5: for q = 0 it is 1.5 and 0
    assert rows(5, 3, 2) == [[1, 0], [2, 1], [3, 2]]


def test_a_table_of_another_length_is_resized_linearly():
    # five rows from the values 0, 1, 2: centres at -0.2, 0.4, 1, 1.6, 2.2, held at the ends
    resized = torch.tensor(rows(3, 3, 3))
    expected = torch.tensor([[1, 0.4, 0], [1.6, 1, 0.4], [2, 1.6, 1]])
    torch.testing.assert_close(resized, expected)


def test_gradient_reaches_the_table():
    table = torch.zeros(27, 4, requires_grad=True)
    relative_positions(table, 5, 9).sum().backward()
    assert torch.isfinite(table.grad).all()
    assert table.grad.sum().item() == pytest.approx(5 * 9 * 4)
