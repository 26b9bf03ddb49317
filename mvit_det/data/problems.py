"""The problems that are found in a data set, and what happens to the entries that have them."""

import shlex
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvit_det.data.problem_kinds import KINDS
from mvit_det.errors import InputError, counted, printable


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a file of a data set.

    Attributes:
        kind: key of :data:`mvit_det.data.problem_kinds.KINDS`.
        file: the annotation file, the label file or the image.
        field: the field in the file, such as ``annotations[3].bbox`` or ``line 4``; empty for the whole file.
        message: what is wrong and what is expected.
    """

    kind: str
    file: Path
    field: str
    message: str

    def __str__(self) -> str:
        return printable(": ".join(filter(None, (str(self.file), self.field, self.message))))

    @property
    def effect(self) -> str:
        """The effect of its kind."""
        return KINDS[self.kind].effect


class UnusableError(InputError):
    """Nothing in a data set can be used.

    Attributes:
        problems: the problems of its entries.
    """

    def __init__(self, source: Path, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = next(problem for problem in self.problems if problem.effect == "drop")
        super().__init__(f"{source}: none of its images can be used; {first}")


class ProblemCollector:
    """Collects the problems of one data set while it is read.

    Args:
        source: the file or the folder, for messages.
        problems: problems that were found earlier.
    """

    def __init__(self, source: Path, problems: Iterable[Problem] = ()) -> None:
        self.source = source
        self.problems = list(problems)
        self._folder = source if source.is_dir() else source.parent

    def add(
        self, kind: str, name: str, index: int, entry: Any, message: str, field: str | None = None
    ) -> None:
        """Add a problem of the entry ``index`` of the list ``name``.

        An entry that was converted from another format names its own file and line in ``"_source"``; the path
        is relative to the folder of the data set.
        """
        origin = entry.get("_source") if isinstance(entry, dict) else None
        if origin is not None:
            file, separator, line = origin.rpartition(": ")
            if not separator:
                file, line = origin, ""
            self.problems.append(Problem(kind, self._folder / file, line, message))
        else:
            where = f"{name}[{index}]" + (f".{field}" if field else "")
            self.problems.append(Problem(kind, self.source, where, message))

    def add_list(self, kind: str, name: str, field: str, message: str) -> None:
        """Add a problem that concerns a field of all entries of the list ``name``."""
        self.problems.append(Problem(kind, self.source, f"{name}[*].{field}", message))

    def add_file(self, kind: str, file: Path, message: str) -> None:
        """Add a problem of a whole file."""
        self.problems.append(Problem(kind, file, "", message))

    def first_drop(self) -> Problem:
        """Return the first problem of the effect ``"drop"``."""
        return next(problem for problem in self.problems if problem.effect == "drop")


def group_by_kind(problems: Iterable[Problem], effect: str) -> dict[str, list[Problem]]:
    """Return the kinds of problems with this effect, the most frequent first, and the problems of each."""
    groups = defaultdict(list)
    for problem in problems:
        if problem.effect == effect:
            groups[problem.kind].append(problem)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def stop_at(problems: Iterable[Problem], path: Path) -> None:
    """Raise an error if there are problems of the effect ``"drop"``.

    Args:
        problems: the problems of a data set.
        path: the data set, for the message.

    Raises:
        InputError: names the first such problem and the number of all.
    """
    stopping = [problem for problem in problems if problem.effect == "drop"]
    if not stopping:
        return
    message = str(stopping[0])
    num_more, num_kinds = len(stopping) - 1, len({problem.kind for problem in stopping})
    if num_more:
        kinds = "of the same kind" if num_kinds == 1 else f"({num_kinds} kinds in all)"
        command = f"mvit-det check {shlex.quote(str(path))}"
        message += f"; and {counted(num_more, 'more problem')} {kinds}; `{command}` lists them all"
    raise InputError(message)
