"""The problems of a run's data, as a file and as one line."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mvit_det.data.dataset import Dataset
from mvit_det.data.problems import KINDS
from mvit_det.report.run_folder import PROBLEMS


def summarize_problems(datasets: Iterable[Dataset], dropped: bool) -> str:
    """Return the number of problems of each kind in one line, or an empty string if there are none.

    Args:
        datasets: the data sets of a run.
        dropped: whether entries with a problem were dropped or clipped.
    """
    counts = Counter(problem.kind for dataset in datasets for problem in dataset.problems)
    done = {"drop": "dropped", "clip": "clipped" if dropped else "used as they are", "repair": "repaired"}
    groups = [
        f"{count:,} {KINDS[kind].title} ({done.get(KINDS[kind].effect, 'used as they are')})"
        for kind, count in counts.most_common()
    ]
    return ", ".join(groups)


def write_problems(datasets: Iterable[Dataset], folder: Path) -> Path:
    """Write every problem on a line of its own, grouped by kind, and return the path of the file.

    Args:
        datasets: the data sets of a run.
        folder: the folder of the run, which must exist.
    """
    problems = [problem for dataset in datasets for problem in dataset.problems]
    path = folder / PROBLEMS
    with path.open("w", encoding="utf-8") as file:
        for kind in dict.fromkeys(problem.kind for problem in problems):
            file.write(f"{KINDS[kind].title} ({KINDS[kind].effect})\n")
            file.writelines(f"  {problem}\n" for problem in problems if problem.kind == kind)
    return path
