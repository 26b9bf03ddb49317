"""Progress bars and tables for the terminal."""

from collections.abc import Generator, Iterable
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mvit_det.data.average_precision import METRICS, Metrics
from mvit_det.data.dataset import Dataset
from mvit_det.data.image_checks import check_images
from mvit_det.errors import printable

T = TypeVar("T")


class PlainConsole(Console):
    """A console that takes text literally, in messages and in the cells of tables.

    Text comes from files in part, such as the names of classes and images. In it, markup has no meaning, and
    control characters, which could change what the terminal shows, are escaped.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        lines = (printable(line, max(len(line), 1)) for line in text.split("\n"))
        return super().render_str("\n".join(lines), **options)


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: without markup, colors and line breaks."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


class _RateColumn(ProgressColumn):
    """The number of items per second."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.3g} images/s")


def progress_bar(
    items: Iterable[T], total: int | None, description: str, console: Console
) -> Generator[T, None, None]:
    """Return images, and show a progress bar with their rate while they are consumed.

    Nothing is shown if the console is no terminal.

    Args:
        items: the images, or one item for each.
        total: their number, or None if it is not known.
        description: what happens to them.
        console: where to show it.
    """
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TaskProgressColumn(), _RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total, description=description)


def check_images_with_progress(dataset: Dataset, console: Console, *, drop_invalid: bool = False) -> Dataset:
    """Read every image of a data set once, and show a progress bar if the console is a terminal.

    The arguments besides ``console``, the result and the errors are those of
    :func:`mvit_det.data.image_checks.check_images`.
    """

    def show_progress(items: Iterable[T], total: int) -> Iterable[T]:
        return progress_bar(items, total, "checking images", console)

    return check_images(dataset, show_progress, drop_invalid=drop_invalid)


def metrics_tables(metrics: Metrics) -> tuple[Table, Table]:
    """Return two tables: the metrics of boxes and masks over all classes, and the AP of each class."""
    totals = Table("average precision, %")
    for name in METRICS:
        totals.add_column(name, justify="right")
    for kind, values in metrics.items():
        totals.add_row(kind, *(_cell(values[name]) for name in METRICS))
    classes = Table("class")
    for kind in metrics:
        classes.add_column(f"{kind} AP", justify="right")
    for name in metrics["box"]["per_class"]:
        classes.add_row(name, *(_cell(values["per_class"][name]) for values in metrics.values()))
    return totals, classes


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
