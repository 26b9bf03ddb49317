"""Any picture file as the upright 8-bit RGB that a person would see."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pycocotools.coco import COCO

from mvit_det.errors import InputError

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))


def read_image(path: Path) -> Image.Image:
    """Read a picture as upright RGB, 8 bits a channel.

    The EXIF orientation is applied; 16-bit gray is scaled to 8 bits; what is transparent is laid on
    white; gray, palette and CMYK become RGB. Of an animation it is the first frame.

    Raises:
        InputError: if the file is missing, empty, truncated or no picture.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a picture") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise InputError(
            f"{path}: is empty; expected a picture" if empty else f"{path}: is not a picture"
        ) from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: is too large a picture: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: is truncated or cannot be read: {error}") from None
    except (SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def find_images(source: Path) -> list[Path]:
    """Return the picture that ``source`` is, or those directly inside the folder that it is, by name.

    Raises:
        InputError: if there is none.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if source.is_file():
        return [source]
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"{source}: holds no picture; looked for {', '.join(sorted(SUFFIXES))}")
    return found


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; store 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit gray: convert() would clip it at 255
        pixels = np.asarray(image).clip(0, 2**16 - 1)
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def check_images(coco: COCO, folder: Path, track: Callable[[Iterable[Any], int], Iterable[Any]]) -> None:
    """Read every picture of a data set once, before a run that would stumble over one.

    Args:
        coco: the data set.
        folder: where its ``file_name`` start.
        track: wraps the pictures as they come, given their number, to show progress.

    Raises:
        InputError: if the folder or a picture is missing or damaged, or if a picture's upright size
            is not the ``width`` and ``height`` of its entry.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of pictures")
    images = list(coco.imgs.values())

    def check(entry: dict[str, Any]) -> None:  # and let go of the pixels
        read_entry(folder, entry)

    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(check, images), len(images)):
            pass


def read_entry(folder: Path, entry: dict[str, Any]) -> Image.Image:
    """Read the picture of one COCO ``images`` entry; errors as in :func:`check_images`."""
    path = folder / entry["file_name"]
    image = read_image(path)
    if image.size != (entry["width"], entry["height"]):
        raise InputError(
            f"{path}: is {image.width} x {image.height} px upright, but the entry with the id "
            f"{entry['id']} in images says {entry['width']} x {entry['height']}"
        )
    return image
