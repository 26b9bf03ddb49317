"""Reading of image files as upright 8-bit RGB."""

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
    """Read an image as upright RGB with 8 bits per channel.

    Applies the EXIF orientation, scales 16-bit gray to 8 bits, puts transparent pixels on a white background,
    and converts gray, palette and CMYK images to RGB. Of an animation, it reads the first frame.

    Raises:
        InputError: if the file is missing, empty or truncated, or is not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected an image") from None
    except UnidentifiedImageError:
        problem = "is empty; expected an image" if path.stat().st_size == 0 else "is not an image"
        raise InputError(f"{path}: {problem}") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: the image is too large: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: is truncated or cannot be read: {error}") from None
    except (SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def find_images(source: Path) -> list[Path]:
    """Return ``source`` itself if it is a file, or the images directly inside it, sorted by name.

    Raises:
        InputError: if ``source`` does not exist, or is a folder without images.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if source.is_file():
        return [source]
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"{source}: contains no images; expected {', '.join(sorted(SUFFIXES))}")
    return paths


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined white; store 8 or 16 bits per channel")
    if image.mode.startswith("I"):  # 16-bit gray, which convert() would clip to 255
        pixels = np.asarray(image).clip(0, 2**16 - 1)
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")


def check_images(coco: COCO, folder: Path, track: Callable[[Iterable[Any], int], Iterable[Any]]) -> None:
    """Read every image of a data set once, so that a run does not start with an image that cannot be read.

    Args:
        coco: the data set.
        folder: the folder that each ``file_name`` is relative to.
        track: function from an iterable and its length to the same items, which shows progress.

    Raises:
        InputError: if the folder does not exist, or if an image is missing or damaged, or does not have the
            ``width`` and ``height`` of its entry. Sizes are those of the upright image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    images = list(coco.imgs.values())

    def check(entry: dict[str, Any]) -> None:  # returns None, so that the pixels are freed
        read_entry(folder, entry)

    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(check, images), len(images)):
            pass


def read_entry(folder: Path, entry: dict[str, Any]) -> Image.Image:
    """Read the image of one entry of ``images``.

    Raises:
        InputError: see :func:`check_images`.
    """
    path = folder / entry["file_name"]
    image = read_image(path)
    if image.size != (entry["width"], entry["height"]):
        raise InputError(
            f"{path}: is {image.width} x {image.height} px upright, but the entry of images with "
            f"the id {entry['id']} says {entry['width']} x {entry['height']}"
        )
    return image
