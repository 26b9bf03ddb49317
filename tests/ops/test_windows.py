import torch

from mvit_det.ops.windows import window_partition, window_unpartition


def test_windows_of_a_map_with_padding():
    x = torch.arange(1, 7).view(1, 2, 3, 1, 1)
    windows = window_partition(x, (2, 2))[0, 0, ..., 0, 0]
    assert windows.tolist() == [[[1, 2], [4, 5]], [[3, 0], [6, 0]]]


def test_unpartition_undoes_partition():
    x = torch.randn(2, 5, 9, 2, 3)
    for window in ((1, 1), (2, 3), (4, 4), (7, 2), (16, 16)):
        assert torch.equal(window_unpartition(window_partition(x, window), (5, 9)), x)
