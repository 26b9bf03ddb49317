"""The report on what a weight file filled in a model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights of a file; each attribute holds names of the model's tensors.

    As a string, it is a table of a few lines.

    Attributes:
        description: what the file holds.
        loaded: loaded unchanged.
        resized: loaded after their relative or absolute positions were resized.
        class_mismatch: not loaded, because the file has another number of classes.
        missing: not loaded, because the file does not have them: heads, or the norms of a detector's stages.
        shape_mismatch: not loaded, because they have another shape in the file.
        unused: in the file, but not in the model.
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
            ("other classes, left at random", self.class_mismatch),
            ("not in the file, left at random", self.missing),
            ("another shape, left at random", self.shape_mismatch),
            ("only in the file, not used", self.unused),
        )
        lines = [f"{label:<34}{len(keys):>6}  {_modules(keys)}" for label, keys in rows if keys]
        return "\n".join([self.description, *lines])


def _modules(keys: Sequence[str]) -> str:
    """Return the modules that tensors belong to, with the number of tensors in each."""
    depth = 1 + any(key.startswith(("backbone.", "roi_heads.", "proposal_generator.")) for key in keys)
    counts = Counter(".".join(key.split(".")[:depth]) for key in keys)
    return ", ".join(f"{module} {number}" for module, number in counts.items())
