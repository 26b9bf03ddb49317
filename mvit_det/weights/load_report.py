"""The report on loading a weight file into a model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadReport:
    """The names of the tensors that were loaded from a file, and of those that were not.

    ``str(report)`` is a table of a few lines.

    Attributes:
        description: name and contents of the file, in one line.
        loaded: tensors that were loaded unchanged.
        resized: relative or absolute positions that were resized and loaded.
        class_mismatch: tensors that were not loaded because the file has another number of classes.
        missing: tensors that were not loaded because the file lacks them, such as the heads of a detector and
            the norms of the feature maps in a file of a classifier.
        shape_mismatch: tensors that were not loaded because they have another shape in the file.
        unused: tensors of the file that the model does not have.
    """

    description: str
    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    class_mismatch: tuple[str, ...]
    missing: tuple[str, ...]
    shape_mismatch: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        rows = (
            ("loaded", self.loaded),
            ("resized", self.resized),
            ("other classes, not loaded", self.class_mismatch),
            ("missing in the file, unchanged", self.missing),
            ("another shape, not loaded", self.shape_mismatch),
            ("only in the file, not used", self.unused),
        )
        lines = [f"{label:<34}{len(keys):>6}  {_modules(keys)}" for label, keys in rows if keys]
        return "\n".join([self.description, *lines])


def _modules(keys: Sequence[str]) -> str:
    """Return the modules that contain the tensors, each followed by its number of tensors."""
    depth = 1 + any(key.startswith(("backbone.", "roi_heads.", "proposal_generator.")) for key in keys)
    counts = Counter(".".join(key.split(".")[:depth]) for key in keys)
    return ", ".join(f"{module} {number}" for module, number in counts.items())
