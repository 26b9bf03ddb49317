"""The report on the data of a run: what the sets contain, and the problems that were found in them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mvit_det.data.dataset import Dataset
from mvit_det.data.problem_kinds import KINDS
from mvit_det.data.problems import group_by_kind
from mvit_det.data.resized_sizes import find_unusual_sizes
from mvit_det.data.sources import describe
from mvit_det.errors import printable
from mvit_det.files import write_file
from mvit_det.report import run_folder

MAX_LINE = 2000  # characters


def report_data(
    datasets: Sequence[Dataset], folder: Path, *, drop_invalid: bool, limits: Sequence[tuple[int, int]]
) -> list[str]:
    """Write the problems in the data sets of a run to its folder, and return the lines of a summary.

    Args:
        datasets: the data sets.
        folder: the folder of the run. If there are problems, all are written to ``data_problems.txt`` in it.
        drop_invalid: whether the sets were read with ``drop_invalid``, which also clips objects at the edge.
        limits: see :func:`mvit_det.data.resized_sizes.find_unusual_sizes`.
    """
    path = folder / run_folder.PROBLEMS
    path.unlink(missing_ok=True)  # of the run that is resumed
    datasets = [
        replace(each, problems=(*each.problems, *find_unusual_sizes(each, limits))) for each in datasets
    ]
    lines = [f"{dataset.source}: {describe(dataset)}" for dataset in datasets]
    problems = [problem for dataset in datasets for problem in dataset.problems]
    if problems:
        for dataset in datasets:
            lines += _summarize(dataset, drop_invalid)
        write_file(path, "".join(f"{p.effect}: {p}\n" for p in problems).encode())
        lines.append(f"wrote {path}, which lists all of them")
    return [printable(line, MAX_LINE) for line in lines]


def _summarize(dataset: Dataset, drop_invalid: bool) -> list[str]:
    actions = {
        "drop": "dropped",
        "clip": "clipped" if drop_invalid else "used without clipping",
        "repair": "repaired",
    }
    split = f"{dataset.split}: " if dataset.split else ""
    lines = []
    for effect, action in actions.items():
        groups = group_by_kind(dataset.problems, effect).items()
        if groups:
            counts = ", ".join(f"{KINDS[kind].title} ({len(problems):,})" for kind, problems in groups)
            lines.append(f"{dataset.source}: {split}{action}: {counts}")
    for kind, problems in group_by_kind(dataset.problems, "warn").items():
        title = f"{KINDS[kind].title} ({len(problems):,})"
        lines.append(f"{split}warning: {title}, such as {problems[0]}")  # which names the file
    return lines
