"""Reading of image files as upright 8-bit RGB."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mvit_det.data.input_files import check_regular
from mvit_det.errors import ImageError, InputError

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))

MAX_PIXELS = 178_956_970  # of an image; Pillow refuses larger ones as decompression bombs
# Pillow also opens formats whose decoders run other programs, such as EPS, whatever the name of the file.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
Image.init()  # Pillow registers its formats
FORMATS = [name for name in _FORMATS if name in Image.OPEN]
_LARGE = 2**24  # px; larger images are decoded one at a time, because several threads could fill the memory
MIN_LEVELS = 64  # gray levels in 8 bits; 16-bit images with fewer are reported
_large_images = threading.Lock()

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


@dataclass(frozen=True)
class CheckedImage:
    """What a complete reading of an image file shows.

    Attributes:
        size: the size of the image.
        format: Pillow's name of the format, such as ``"JPEG"``.
        warnings: kind of problem, a key of :data:`mvit_det.data.problem_kinds.KINDS` -> message.
    """

    size: ImageSize
    format: str
    warnings: Mapping[str, str]


def read_image(path: Path) -> Image.Image:
    """Read an image as upright RGB with 8 bits per channel.

    Applies the EXIF orientation, scales 16-bit gray to 8 bits, puts transparent pixels on a white background,
    and converts gray, palette and CMYK images to RGB. 16-bit gray of which all values are less than 256 is
    taken as 8-bit gray. Of an animation, it reads the first frame.

    Raises:
        ImageError: if the file is missing, empty or truncated, or is not an image.
    """
    with _opened(path) as image:
        return _decode(image)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, and turn errors while it is read into an :class:`ImageError` that names the cause."""
    try:
        size = check_regular(path, "an image")
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image") from None
    except InputError as error:
        raise ImageError(str(error)) from None
    except UnidentifiedImageError:
        problem = "is empty; expected an image" if size == 0 else "is not an image"
        raise ImageError(f"{path}: {problem}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: the image is too large: {error}") from None
    except OSError as error:
        fault = f"cannot be read: {error.strerror}" if error.errno else f"is truncated or damaged: {error}"
        raise ImageError(f"{path}: {fault}") from None
    except MemoryError:
        raise ImageError(f"{path}: cannot be read: the memory does not suffice") from None
    except Exception as error:  # Pillow documents no set of exceptions for a damaged image
        raise ImageError(f"{path}: cannot be read: {str(error) or type(error).__name__}") from None


def read_size(path: Path) -> ImageSize:
    """Read the size of an image and its EXIF orientation, from the header of its file where possible.

    Raises:
        ImageError: see :func:`read_image`.
    """
    with _opened(path) as image:
        if image.format == "PNG" and not ORIENTATION_KEYS & image.info.keys():
            return ImageSize(*image.size)  # getexif would decode the pixels to look behind them
        orientation = _orientation(image)
        width, height = image.size
        if orientation >= 5 and image.format != "TIFF":  # Pillow turns the size of a TIFF itself
            width, height = height, width
        return ImageSize(width, height, orientation)


def check_image(path: Path) -> CheckedImage:
    """Read an image as :func:`read_image` does, and return its size and what is suspicious about it.

    Raises:
        ImageError: see :func:`read_image`.
    """
    with _opened(path) as image:
        orientation, format_ = _orientation(image), image.format or ""
        size = ImageSize(*_decode(image).size, orientation)
        problem = _low_range(image)
        return CheckedImage(size, format_, {"low_range": problem} if problem else {})


def _decode(image: Image.Image) -> Image.Image:
    """Return the pixels of an image that has been opened, as :func:`read_image` describes."""
    if image.width * image.height > MAX_PIXELS:  # Pillow's own limit depends on global settings
        raise ValueError(f"it has {image.width * image.height:,} px; expected at most {MAX_PIXELS:,}")
    with _large_images if image.width * image.height > _LARGE else nullcontext():
        image.load()
        return upright_rgb(image)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image as :func:`read_image` does: turned as its EXIF data says, and converted to RGB."""
    return _to_rgb(ImageOps.exif_transpose(image))


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _low_range(image: Image.Image) -> str:
    """Return what is wrong with the values of 16-bit gray of which few remain in 8 bits, or an empty string.

    All values of 8-bit gray that is stored in 16 bits remain.
    """
    if not image.mode.startswith("I"):
        return ""
    pixels = np.asarray(image).clip(0, 2**16 - 1)
    low, high = int(pixels.min()), int(pixels.max())
    levels = (high >> 8) - (low >> 8) + 1
    if high < 2**8 or levels > MIN_LEVELS:
        return ""
    return f"its values are {low} to {high} of 65535; at most {levels} of 256 gray levels remain in 8 bits"


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
    return image if image.mode == "RGB" else image.convert("RGB")


def read_entry(folder: Path, entry: dict[str, Any]) -> Image.Image:
    """Read the image of one entry of ``images``.

    Raises:
        ImageError: if the image cannot be read, or does not have the ``width`` and ``height`` of its entry.
    """
    path = folder / entry["file_name"]
    image = read_image(path)
    if image.size != (entry["width"], entry["height"]):
        raise ImageError(
            f"{path}: is {image.width} x {image.height} px upright, but the entry of images with "
            f"the id {entry['id']} says {entry['width']} x {entry['height']}"
        )
    return image
