"""Plots of the statistics of a data set."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from mvit_det.data.statistics import SIZE_CLASSES, Statistics
from mvit_det.report.figures import write_figure

MAX_CLASSES = 30  # classes with a bar of their own
MAX_NAME = 24  # characters of a class name
NUM_BINS = 40
COLORS = ("tab:blue", "tab:orange", "tab:green")  # of the splits
MARKERS = ("o", "^", "s")

Splits = Mapping[str, Statistics]


def draw_statistics(splits: Splits, path: Path) -> None:
    """Plot the statistics of the splits of a data set to an image file; see :func:`plot_statistics`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a class name in another script
        write_figure(path, plot_statistics(splits))


def plot_statistics(splits: Splits) -> Figure:
    """Plot the objects per image, the sizes of objects, the objects per class, and the sizes of images.

    Histograms show percentages, so that splits of different sizes can be compared.

    Args:
        splits: name of each split -> its statistics; at most three.
    """
    num_bars = min(MAX_CLASSES, max(len(split.classes) for split in splits.values()))
    heights = (4, max(4, 1.2 + 0.22 * num_bars))  # inches
    figure = Figure(figsize=(13, sum(heights)), layout="constrained")
    axes = figure.subplots(2, 2, height_ratios=heights)
    _plot_objects_per_image(axes[0, 0], splits)
    _plot_object_sizes(axes[0, 1], splits)
    _plot_classes(axes[1, 0], splits)
    _plot_image_sizes(axes[1, 1], splits)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        if len(splits) > 1:
            legend = axis.legend(fontsize="small", loc="lower right" if axis is axes[1, 0] else "best")
            for handle in legend.legend_handles:
                if isinstance(handle, PathCollection):
                    handle.set_sizes([24])  # markers of any size fit into the legend
    return figure


def _plot_objects_per_image(axis: Axes, splits: Splits) -> None:
    counts = {name: split.objects_per_image for name, split in splits.items()}
    everything = np.concatenate(list(counts.values()))
    limit = int(np.quantile(everything, 0.995, method="higher"))
    step = limit // NUM_BINS + 1  # a whole number, so that bins are comparable
    last = limit // step * step  # where the last bin starts
    is_open = everything.max() >= last + step  # the last bin collects the few images above it
    counts = {name: values.clip(max=last) for name, values in counts.items()}
    _plot_histograms(axis, counts, np.arange(0, last + 2 * step, step) - 0.5)
    label = f"number of objects (last bar: {last} or more)" if is_open else "number of objects"
    axis.set(title="objects per image", xlabel=label, ylabel="images, %")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _plot_object_sizes(axis: Axes, splits: Splits) -> None:
    sides = {name: np.sqrt(split.areas).clip(min=1) for name, split in splits.items()}
    minimum = min(values.min(initial=32) for values in sides.values())
    maximum = max(values.max(initial=96) for values in sides.values())
    _plot_histograms(axis, sides, np.geomspace(minimum, maximum * 1.01, NUM_BINS + 1))
    axis.set(
        title="sizes of objects", xlabel="square root of the area, px", ylabel="objects, %", xscale="log"
    )
    _label_log_axis(axis)
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top * 1.08)  # room for the names of the size classes
    edges = [minimum, *(area**0.5 for area in list(SIZE_CLASSES.values())[:-1]), maximum]
    for name, start, end in zip(SIZE_CLASSES, edges[:-1], edges[1:], strict=True):
        if name != "large":
            axis.axvline(end, color="black", linestyle=":", linewidth=1)
        if end > 1.3 * start:  # wide enough for its name
            center = (start * end) ** 0.5
            axis.text(center, 0.985, name, ha="center", va="top", transform=axis.get_xaxis_transform())


def _plot_classes(axis: Axes, splits: Splits) -> None:
    """Plot the shares of the classes: bars for the first split, and a marker for each of the others."""
    (name, first), *others = splits.items()
    order = np.argsort(-first.objects_per_class, kind="stable")[:MAX_CLASSES]
    rows = np.arange(len(order))
    axis.barh(rows, _percent(first.objects_per_class)[order], color=COLORS[0], alpha=0.6, label=name)
    for (name, split), color, marker in zip(others, COLORS[1:], MARKERS[1:], strict=False):
        share_of = dict(zip(split.classes, _percent(split.objects_per_class), strict=True))
        shares = [share_of.get(first.classes[index], 0) for index in order]
        axis.scatter(shares, rows, s=24, color=color, marker=marker, label=name, zorder=3)
    num_classes = len(first.classes)
    title = "classes" if num_classes <= MAX_CLASSES else f"the {MAX_CLASSES} largest of {num_classes} classes"
    axis.set(title=title, xlabel="objects, %", xlim=(0, None), ylim=(max(len(order), 4) - 0.4, -0.6))
    names = [first.classes[index] for index in order]
    names = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..." for name in names]
    axis.set_yticks(rows, names, parse_math=False)  # "$" in a name does not start a formula


def _plot_image_sizes(axis: Axes, splits: Splits) -> None:
    for (name, split), color, marker in zip(splits.items(), COLORS, MARKERS, strict=False):
        sizes, counts = np.unique(split.image_sizes, axis=0, return_counts=True)
        area = 16 + 300 * counts / counts.sum()  # square points
        axis.scatter(
            sizes[:, 0], sizes[:, 1], s=area, color=color, marker=marker, alpha=0.5, linewidth=0, label=name
        )
    axis.set(title="sizes of images (large marker: many images)", xlabel="width, px", ylabel="height, px")
    axis.margins(0.1)
    for limits in (axis.xaxis, axis.yaxis):
        limits.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _plot_histograms(axis: Axes, values: Mapping[str, NDArray[Any]], bins: NDArray[Any]) -> None:
    for (name, numbers), color in zip(values.items(), COLORS, strict=False):
        shares = _percent(np.histogram(numbers, bins)[0])
        if name == next(iter(values)):
            axis.stairs(shares, bins, fill=True, color=color, alpha=0.6, label=name)
        else:  # an outline, so that the splits are told apart where they overlap
            axis.stairs(shares, bins, color=color, linewidth=1.5, label=name)
    axis.set_ylim(0, None)


def _percent(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return 100 * counts / max(1, counts.sum())


def _label_log_axis(axis: Axes) -> None:
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
