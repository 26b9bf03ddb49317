"""Reading all images of a folder once."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mvit_det.data.image_cache import ImageCache, ImageSize
from mvit_det.data.images import read_whole
from mvit_det.errors import InputError


def read_all(
    folder: Path, names: Sequence[str], track: Callable[[Iterable[Any], int], Iterable[Any]]
) -> list[ImageSize | InputError]:
    """Read images with several threads, except those that have been read before and have not changed.

    Args:
        folder: the folder of the images.
        names: their paths relative to the folder.
        track: function from an iterable and its length to the same items, which shows progress.

    Returns:
        The size of each image, or the error for an image that cannot be read.
    """
    cache = ImageCache(folder)

    def read(name: str) -> ImageSize | InputError:
        size = cache.find(name)
        if size is None:
            try:
                size = read_whole(folder / name)
            except InputError as error:
                return error
            cache.add(name, size)
        return size

    pool = ThreadPoolExecutor()
    try:
        return list(track(pool.map(read, names), len(names)))
    finally:
        pool.shutdown(cancel_futures=True)
        cache.save()  # what has been read before an interrupt need not be read again
