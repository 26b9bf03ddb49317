"""Colors that tell classes and objects apart."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]  # RGB
TAB10 = "1f77b4 ff7f0e 2ca02c d62728 9467bd 8c564b e377c2 7f7f7f bcbd22 17becf"  # of matplotlib
NUM_COLORS = 100
LEVELS = np.arange(0, 256, 17)  # of a channel of the colors to choose from
LIGHTNESS = (0.4, 0.9)  # of these colors in Oklab; darker and lighter ones are hard to tell apart
MIN_CHROMA = 0.08  # of these colors in Oklab; grays are hard to tell from the image


def color_of(number: int) -> Color:
    """Return the color of the class or object with this number, which is always the same."""
    return PALETTE[number % len(PALETTE)]


@cache
def text_color(background: Color) -> Color:
    """Return black or white: the one with the higher contrast to a background.

    Source: WCAG 2.2, relative luminance and contrast ratio. The ratio is at least 4.5.
    """
    luminance = _linear(np.array(background)) @ [0.2126, 0.7152, 0.0722]
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def _palette() -> list[Color]:
    """Return the colors of matplotlib's palette ``tab10``, followed by colors that differ from all before.

    Each is the one with the largest distance to the closest color before it (Glasbey et al., "Colour displays
    for categorical images", 2007), measured in Oklab.
    """
    first = np.array([list(bytes.fromhex(color)) for color in TAB10.split()])
    grid = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(-1, 3)
    lightness, a, b = _oklab(grid).T
    is_usable = (lightness > LIGHTNESS[0]) & (lightness < LIGHTNESS[1]) & (np.hypot(a, b) > MIN_CHROMA)
    colors = np.concatenate([first, grid[is_usable]])
    points = (_oklab(colors) * 1000).round().astype(int)  # integers: the same choice on every machine
    chosen = list(range(len(first)))
    distances = np.min([_distances(points, index) for index in chosen], axis=0)
    while len(chosen) < NUM_COLORS:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, _distances(points, chosen[-1]))
    return [(int(red), int(green), int(blue)) for red, green, blue in colors[chosen]]


def _distances(points: NDArray[np.int_], index: int) -> NDArray[np.int_]:
    """Return the squared distances of points (N, 3) to one of them."""
    squared: NDArray[np.int_] = ((points - points[index]) ** 2).sum(axis=1)
    return squared


def _oklab(colors: NDArray[np.int_]) -> NDArray[np.float64]:
    """Convert sRGB colors (N, 3) to Oklab, in which distances are perceived differences (Ottosson, 2020)."""
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    lab: NDArray[np.float64] = np.cbrt(_linear(colors) @ np.transpose(to_cones)) @ np.transpose(to_lab)
    return lab


def _linear(colors: NDArray[np.int_]) -> NDArray[np.float64]:
    """Convert channels of sRGB in 0..255 to linear light in 0..1 (IEC 61966-2-1)."""
    values = colors / 255
    linear: NDArray[np.float64] = np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    return linear


PALETTE = _palette()
