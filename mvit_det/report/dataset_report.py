"""The report of ``mvit-det check``: problems and statistics on the terminal, and files with all details."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mvit_det.data.check import CheckedData, check_data
from mvit_det.data.formats.layout import SPLITS
from mvit_det.data.json_files import write_json
from mvit_det.data.problem_kinds import EFFECTS, KINDS
from mvit_det.data.problems import group_by_kind
from mvit_det.data.sources import describe
from mvit_det.errors import InputError, counted
from mvit_det.files import write_file
from mvit_det.report.console import PlainConsole, progress_bar
from mvit_det.report.dataset_plots import draw_statistics
from mvit_det.report.dataset_samples import draw_samples
from mvit_det.report.dataset_tables import classes_table, statistics_table
from mvit_det.report.run_folder import check_output, clear_output

REPORT, PROBLEMS, STATISTICS, SAMPLES = "report.json", "problems.txt", "statistics.png", "samples.png"
FILES = (SAMPLES, STATISTICS, REPORT, PROBLEMS)
NUM_EXAMPLES = 3  # problems of each kind on the terminal

# What happens to the entries that have a problem, in the order of the report.
HEADINGS = {
    "drop": "Errors. These stop a run; --drop-invalid leaves the entries out.",
    "clip": "Objects over the edge. They are used as they are; --drop-invalid clips them.",
    "warn": "Warnings. The entries are used as they are.",
    "repair": "Repairs. The entries are repaired without loss when they are read.",
}
assert set(HEADINGS) == set(EFFECTS)


@dataclass(frozen=True)
class CheckOptions:
    """The options of a check. The fields are the arguments of ``mvit-det check``."""

    data: Path
    out: Path
    images: Path | None = None
    read_images: bool = False
    fix: Path | None = None


def run_check(options: CheckOptions) -> bool:
    """Check a data set, print a report, and write it to ``options.out``.

    Returns:
        Whether the data can be used as they are.

    Raises:
        InputError: if the data are not found or not recognized, or an output file cannot be written.
    """
    console = PlainConsole(soft_wrap=True)
    progress = PlainConsole(stderr=True)
    check_output(options.out, (), overwrite=False, inputs=())
    if options.fix is not None:
        _check_fix(options.fix)

    def show(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
        return progress_bar(items, total, description, progress)

    data = check_data(options.data, options.images, read_images=options.read_images, track=show)
    print_report(data, console)
    files, undrawn = write_report(data, options.out)
    console.print(f"\nwrote {options.out}: {', '.join(files)}")
    if undrawn:
        images = counted(len(undrawn), "image")
        console.print(f"{SAMPLES} leaves out {images} that cannot be drawn, such as {undrawn[0]}")
    if options.fix is not None:
        write_fixed(data, options.fix, console)
    return data.is_usable


def print_report(data: CheckedData, console: Console) -> None:
    """Print the problems in groups, and then the statistics."""
    for dataset in data.splits.values():
        console.print(describe(dataset))
    if data.errors:
        console.print("\nErrors of the data as a whole. These stop a run.", style="bold")
    for message in data.errors:
        console.print(f"  {message}")
    for effect, heading in HEADINGS.items():
        groups = group_by_kind(data.problems, effect)
        if groups:
            console.print(f"\n{heading}", style="bold")
        for kind, problems in groups.items():
            console.print(f"  {KINDS[kind].title}: {len(problems):,}")
            for problem in problems[:NUM_EXAMPLES]:
                console.print(f"      {problem}")
            if len(problems) > NUM_EXAMPLES:
                console.print(f"      and {len(problems) - NUM_EXAMPLES:,} more")
            console.print(f"    {KINDS[kind].remedy}")
    if not data.problems and not data.errors:
        console.print("\nno problems", style="bold")
    if data.statistics:
        console.print()
        console.print(statistics_table(data.statistics))
        console.print(classes_table(data.statistics))


def write_report(data: CheckedData, out: Path) -> tuple[list[str], list[str]]:
    """Write plots, samples, statistics as JSON, and a list of all problems to the folder ``out``.

    Files of an earlier check are replaced.

    Returns:
        The names of the files, and what is wrong with the images that the samples leave out. If no image can
        be read, there are no samples.
    """
    clear_output(out, FILES)
    lines = [f"error: {message}" for message in data.errors]
    lines += [f"{problem.effect}: {KINDS[problem.kind].title}: {problem}" for problem in data.problems]
    write_file(out / PROBLEMS, "".join(f"{line}\n" for line in lines).encode())
    report = {
        "data": str(data.path),
        "format": data.format,
        "usable": data.is_usable,
        "errors": data.errors,
        "problems": {
            kind: {"count": len(problems), "effect": effect}
            for effect in HEADINGS
            for kind, problems in group_by_kind(data.problems, effect).items()
        },
        "splits": {name: split.summary() for name, split in data.statistics.items()},
    }
    write_json(out / REPORT, report)
    undrawn: list[str] = []
    if data.splits:
        draw_statistics(data.statistics, out / STATISTICS)
        undrawn = draw_samples(data.splits, out / SAMPLES)
    return [name for name in FILES if (out / name).exists()], undrawn


def write_fixed(data: CheckedData, path: Path, console: Console) -> None:
    """Write what can be used of each split as a COCO-format JSON, and print how to use it.

    Args:
        data: the data set.
        path: the file to write, ``NAME.json``. If there are several splits, ``NAME.SPLIT.json`` for each.
        console: prints the names of the files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, dataset in data.splits.items():
        file = _fixed_file(path, name) if len(data.splits) > 1 else path
        write_json(file, dataset.coco.dataset)
        console.print(
            f"wrote {file}: {counted(len(dataset.coco.imgs), 'image')}, "
            f"{counted(dataset.num_objects, 'object')}; use it with --json {file} --images {dataset.images}"
        )


def _check_fix(path: Path) -> None:
    if path.suffix.lower() != ".json":
        raise InputError(f"{path}: expected a file name that ends with .json")
    for file in (path, *(_fixed_file(path, split) for split in SPLITS)):
        if file.exists():
            raise InputError(f"{file}: already exists; choose another name")


def _fixed_file(path: Path, split: str) -> Path:
    return path.with_suffix(f".{split}.json")
