"""Images that can no longer be read while a detector is trained or evaluated on them."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.data import Dataset

from mvit_det.errors import ImageError, InputError, counted, printable

MAX_ATTEMPTS = 20  # unreadable images in a row that are an error, because the whole folder may be gone

T = TypeVar("T")


class UnreadableImages:
    """Leaves out images that were removed or damaged after the check of all images.

    Each image is reported once, with the number of all so far, even if several processes load images.

    Args:
        num_images: the number of images of the data set.
    """

    def __init__(self, num_images: int) -> None:
        self.is_reported = torch.zeros(num_images, dtype=torch.uint8).share_memory_()
        self.limit = min(MAX_ATTEMPTS, num_images)

    def read_any(self, read: Callable[[int], T], index: int) -> T:
        """Return ``read(index)`` or, if that image cannot be used, the first of the next ones that can.

        Raises:
            ImageError: if :data:`MAX_ATTEMPTS` images in a row cannot be used.
        """
        first = ""
        for attempt in range(self.limit):
            place = (index + attempt) % len(self.is_reported)
            try:
                return read(place)
            except InputError as error:
                first = first or str(error)
                self._report(place, f"{error}; another image is used in its place")
        raise ImageError(f"{first}; none of the next images of the data set can be used either")

    def read_or_none(self, read: Callable[[int], T], index: int) -> T | None:
        """Return ``read(index)``, or None if that image cannot be used and counts as one without detections.

        Raises:
            ImageError: if it is the last of :data:`MAX_ATTEMPTS` images in a row that cannot be used.
        """
        try:
            return read(index)
        except InputError as error:
            self._report(index, f"{error}; the evaluation counts it as an image without detections")
            in_a_row = self.is_reported[max(0, index + 1 - self.limit) : index + 1]
            if len(in_a_row) == self.limit and in_a_row.all():
                raise ImageError(f"{error}; none of the images before it can be used either") from None
        return None

    def _report(self, place: int, message: str) -> None:
        if not self.is_reported[place]:
            self.is_reported[place] = 1
            number = counted(int(self.is_reported.sum()), "image")
            logging.getLogger(__name__).warning(printable(f"{message} ({number} so far)"))


class ReadableDataset(Dataset[Any]):
    """A data set for evaluation, with None in place of images that cannot be read.

    Args:
        dataset: the data set, which raises an InputError for an image that cannot be read.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        self.unreadable = UnreadableImages(len(self))

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.unreadable.read_or_none(self.dataset.__getitem__, index)
