"""The times of detectors and of their parts."""

import time

import torch
from torch import nn

from mvit_det.benchmark.breakdown import PartClock, clocked_parts
from mvit_det.benchmark.detector_compare import Run, compare_detectors
from mvit_det.benchmark.measure import OUT_OF_MEMORY

PARTS = {"first": ["first.forward"], "second": ["second.forward"]}


class Sleep(torch.autograd.Function):
    """Returns its input; sleeps for ``forward`` and ``backward`` seconds."""

    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.seconds = backward
        time.sleep(forward)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        time.sleep(ctx.seconds)
        return gradient, None, None


class SleepingPart(nn.Module):
    def __init__(self, forward, backward, inner=None):
        super().__init__()
        self.seconds, self.inner = (forward, backward), inner

    def forward(self, x):
        x = Sleep.apply(x, *self.seconds)
        return self.inner(x) if self.inner else x


class FakeDetector:
    """A detector with two parts, the second inside the first."""

    parts = PARTS

    def __init__(self, is_full=False):
        second = SleepingPart(0.02, 0.08)
        self.module = nn.Module()
        self.module.first, self.module.second = SleepingPart(0.06, 0.1, second), second
        self.is_full = is_full

    def detect(self):
        if self.is_full:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.module.first(torch.ones(1))

    def loss(self):
        return self.module.first(torch.ones(1, requires_grad=True)).sum()


def test_the_clock_divides_the_time_forward_and_backward():
    parts = Run(FakeDetector(), "step", "float32", "cpu").parts()
    expected = {"first": (60, 100), "second": (20, 80)}
    for part, (forward, backward) in expected.items():  # a busy machine sleeps longer, never shorter
        assert parts[part]["forward"] >= forward
        assert parts[part]["backward"] >= backward


def test_the_parts_sum_up_to_the_time_of_the_run_and_are_restored():
    detector, clock = FakeDetector(), PartClock("cpu")
    start = time.perf_counter()
    with clocked_parts(detector.module, PARTS | {"none": ["third.forward", "third"]}, clock), clock.run():
        detector.detect()
    assert sum(clock.forward.values()) <= time.perf_counter() - start
    assert sum(clock.forward.values()) >= 0.08
    assert "forward" not in vars(detector.module.first)


def test_rows_by_hand():
    rows = list(
        compare_detectors({"a": FakeDetector(), "b": FakeDetector(True)}, "inference", "float32", "cpu", 2)
    )
    assert [row["detector"] for row in rows] == ["a", "b"]
    assert rows[0]["ms"]["median"] >= 80
    assert rows[0]["ratio"] == {"q1": 1.0, "median": 1.0, "q3": 1.0}
    assert rows[1]["ms"] == OUT_OF_MEMORY
    assert rows[1]["ratio"] is None
