"""Reading of image files as upright 8-bit RGB."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mvit_det.errors import InputError

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))

# Where Pillow finds the EXIF orientation of a PNG in its header.
ORIENTATION_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}


@dataclass(frozen=True)
class ImageSize:
    """The size of an image file.

    Attributes:
        width: width of the upright image, px.
        height: height of the upright image, px.
        orientation: the EXIF orientation, 1 to 8. From 5 on, the stored pixels lie on their side.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the pixels in the file, before they are turned upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_image(path: Path) -> Image.Image:
    """Read an image as upright RGB with 8 bits per channel.

    Applies the EXIF orientation, scales 16-bit gray to 8 bits, puts transparent pixels on a white background,
    and converts gray, palette and CMYK images to RGB. 16-bit gray of which all values are less than 256 is
    taken as 8-bit gray. Of an animation, it reads the first frame.

    Raises:
        InputError: if the file is missing, empty or truncated, or is not an image.
    """
    with _one_line_errors(path), Image.open(path) as image:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Turn Pillow's errors while it reads ``path`` into an :class:`InputError` that names the cause."""
    try:
        yield
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
    except (SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def read_size(path: Path) -> ImageSize:
    """Read the size of an image and its EXIF orientation, from the header of its file where possible.

    Raises:
        InputError: see :func:`read_image`.
    """
    with _one_line_errors(path), Image.open(path) as image:
        if image.format == "PNG" and not ORIENTATION_KEYS & image.info.keys():
            return ImageSize(*image.size)  # getexif would decode the pixels to look behind them
        orientation = _orientation(image)
        width, height = image.size
        if orientation >= 5 and image.format != "TIFF":  # Pillow turns the size of a TIFF itself
            width, height = height, width
        return ImageSize(width, height, orientation)


def decode_size(path: Path) -> ImageSize:
    """Read an image as :func:`read_image` does, and return its size and its EXIF orientation.

    Raises:
        InputError: see :func:`read_image`.
    """
    with _one_line_errors(path), Image.open(path) as image:
        orientation = _orientation(image)
        image.load()
        return ImageSize(*_to_rgb(ImageOps.exif_transpose(image)).size, orientation)


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


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
        if pixels.max() >= 2**8:  # otherwise, 8-bit gray is stored in 16 bits
            pixels = pixels >> 8
        image = Image.fromarray(pixels.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")


def read_entry(folder: Path, entry: dict[str, Any]) -> Image.Image:
    """Read the image of one entry of ``images``.

    Raises:
        InputError: if the image cannot be read, or does not have the ``width`` and ``height`` of its entry.
    """
    path = folder / entry["file_name"]
    image = read_image(path)
    if image.size != (entry["width"], entry["height"]):
        raise InputError(
            f"{path}: is {image.width} x {image.height} px upright, but the entry of images with "
            f"the id {entry['id']} says {entry['width']} x {entry['height']}"
        )
    return image
