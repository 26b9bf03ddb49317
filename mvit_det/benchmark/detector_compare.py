"""Measures detectors in turn, so that a busy machine slows all of them down."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from statistics import median
from typing import Any

import torch
from torch import Tensor

from mvit_det.benchmark.breakdown import PartClock, clocked_parts
from mvit_det.benchmark.compare import WARM_UPS, quartiles
from mvit_det.benchmark.detectors import Detector
from mvit_det.benchmark.measure import DTYPES, OUT_OF_MEMORY, elapsed

MODES = ("inference", "step")


def compare_detectors(
    detectors: Mapping[str, Detector], mode: str, dtype: str, device: str, repeats: int
) -> Iterator[dict[str, Any]]:
    """Measure detectors in one mode and dtype, and yield a row for each.

    Each repeat runs every detector once, in the order of ``detectors``.

    Args:
        detectors: the detectors by name. Ratios refer to the first.
        mode: one of :data:`MODES`; a step is a forward and a backward pass.
        dtype: a key of :data:`mvit_det.benchmark.measure.DTYPES`; other dtypes than float32 use autocast.
        device: ``"cpu"`` or ``"cuda"``.
        repeats: measurements of each detector.

    Yields:
        ``detector``, ``mode``, ``dtype``;
        ``ms``: quartiles of the time, milliseconds, or ``OUT_OF_MEMORY``;
        ``ratio``: quartiles over the repeats of the first detector's time over this one's, or None;
        ``peak_mb``: the most memory allocated in addition to the parameters, 10^6 bytes; None on a CPU;
        ``parts_ms``: for each part the milliseconds of its forward and its backward pass.
    """
    runs = {name: Run(detector, mode, dtype, device) for name, detector in detectors.items()}
    seconds: dict[str, list[float | None]] = {name: [] for name in runs}
    for _ in range(WARM_UPS + repeats):
        for name, run in runs.items():
            seconds[name].append(None if None in seconds[name] else _unless_full(run.seconds))
    reference = next(iter(seconds.values()))
    for name, run in runs.items():
        row: dict[str, Any] = {"detector": name, "mode": mode, "dtype": dtype}
        row |= {"ms": OUT_OF_MEMORY, "ratio": None, "peak_mb": None, "parts_ms": {}}
        times = [time for time in seconds[name][WARM_UPS:] if time is not None]
        if len(times) == repeats:
            row["ms"] = quartiles(1e3 * time for time in times)
            row["peak_mb"] = run.peak_bytes() / 1e6 if device == "cuda" else None
            row["parts_ms"] = _medians(run.parts() for _ in range((repeats + 1) // 2))
            if None not in reference:
                pairs = zip(reference[WARM_UPS:], times, strict=True)
                row["ratio"] = quartiles(first / time for first, time in pairs if first is not None)
        yield row


class Run:
    """Runs of one detector in one mode and dtype."""

    def __init__(self, detector: Detector, mode: str, dtype: str, device: str) -> None:
        self.detector, self.is_step, self.device = detector, mode == "step", device
        self.autocast = torch.autocast(device, DTYPES[dtype], enabled=dtype != "float32")

    def seconds(self) -> float:
        """Return the time of a run."""
        self._prepare()
        return elapsed(self._run, self.device)

    def peak_bytes(self) -> int:
        """Return the most GPU memory that a run allocates."""
        self._prepare()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self._run()
        return torch.cuda.max_memory_allocated() - before

    def parts(self) -> dict[str, dict[str, float]]:
        """Return the milliseconds of each part, forward and backward."""
        self._prepare()
        clock = PartClock(self.device)
        with clocked_parts(self.detector.module, self.detector.parts, clock), clock.run():
            self._run(clock)
        return {
            part: {"forward": 1e3 * clock.forward[part], "backward": 1e3 * clock.backward[part]}
            for part in (*clock.forward, *(clock.backward.keys() - clock.forward.keys()))
        }

    def profile(self) -> str:
        """Return a table of the operators and, on a GPU, of the kernels that take the most time."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        for _ in range(WARM_UPS):
            self.seconds()
        self._prepare()
        with torch.profiler.profile(activities=activities) as profiler:
            self._run()
        key = f"self_{self.device}_time_total"
        return profiler.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=80)

    def _prepare(self) -> None:
        self.detector.module.train(self.is_step)
        self.detector.module.zero_grad()
        torch.manual_seed(0)  # for the sampling of anchors and regions

    def _run(self, clock: PartClock | None = None) -> None:
        if self.is_step:
            with self.autocast:
                loss: Tensor = self.detector.loss()
            if clock:
                clock.watch_backward(loss)
            loss.backward()
        else:
            with torch.no_grad(), self.autocast:
                self.detector.detect()


def _unless_full(measure: Any) -> float | None:
    with suppress(torch.OutOfMemoryError):
        return measure()
    torch.cuda.empty_cache()  # not in an except block, where the traceback still refers to tensors
    return None


def _medians(runs: Iterable[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    data = list(runs)
    parts = dict.fromkeys(part for run in data for part in run)
    return {
        part: {
            way: median([run.get(part, {}).get(way, 0.0) for run in data]) for way in ("forward", "backward")
        }
        for part in parts
    }
