"""Images that can no longer be read while a detector is trained on them."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from mvit_det.errors import InputError, counted, printable

MAX_ATTEMPTS = 20  # images in a row that may be unreadable; if it is more, the whole folder may be gone

T = TypeVar("T")


class UnreadableImages:
    """Reads the next image in place of one that was removed or damaged after the check of all images.

    Each image is reported once, with the number of all so far, even if several processes load images.

    Args:
        num_images: the number of images of the data set.
    """

    def __init__(self, num_images: int) -> None:
        self.is_reported = torch.zeros(num_images, dtype=torch.uint8).share_memory_()

    def read(self, read: Callable[[int], T], index: int) -> T:
        """Return ``read(index)`` or, if that image cannot be used, the first of the next ones that can.

        Raises:
            InputError: if :data:`MAX_ATTEMPTS` images in a row cannot be used.
        """
        first = ""
        for attempt in range(min(MAX_ATTEMPTS, len(self.is_reported))):
            place = (index + attempt) % len(self.is_reported)
            try:
                return read(place)
            except InputError as error:
                first = first or str(error)
                self._report(place, error)
        raise InputError(f"{first}; none of the next images of the data set can be used either")

    def _report(self, place: int, error: InputError) -> None:
        if not self.is_reported[place]:
            self.is_reported[place] = 1
            number = counted(int(self.is_reported.sum()), "image")
            message = printable(f"{error}; another image is used in its place ({number} so far)")
            logging.getLogger(__name__).warning(message)
