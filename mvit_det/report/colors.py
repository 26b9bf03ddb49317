"""Colors that tell classes and objects apart."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]  # RGB
# Matplotlib's palette tab10, and 90 colors of medium lightness, of which each differs most from all before
# it. They were chosen as in Glasbey et al., "Colour displays for categorical images", 2007, with distances in
# Oklab.
HEXADECIMAL = """
1f77b4 ff7f0e 2ca02c d62728 9467bd 8c564b e377c2 7f7f7f bcbd22 17becf
0000ff 00ff00 6600aa 33ffdd 006622 dd00ff ffbbcc aa0077 8822ff 004499
aaaaff ff0088 aa8800 2299ff 881100 eedd88 663366 33cc00 99ddff 0066ff
bbee33 cc7777 bb77ff 77aa77 00dd99 9922bb ff99ff cc44bb 008866 664400
ddaa77 5544cc 2299aa ff44dd 006677 ff5555 7766ff 667700 775588 ff8888
cc6600 aa88bb 99ddbb ffbb00 cc4477 3300cc 5500ff aa2244 00ff99 8888ee
88aa00 996600 880055 aa44ee 00ddee ddbbff 99dd77 11bb66 77aadd dd99bb
aa6688 880088 ee77ff 554499 aa4499 0044cc dd9900 ffdd00 6688bb 5577dd
aa4400 ff0000 88dd00 aa7755 008800 bb00aa ff6699 00bbff ee00bb 7722cc
ffbb88 aabb77 ee0055 bb5555 66ccbb bbee99 7755cc cc8855 cc55ee cc1188
"""
PALETTE: list[Color] = [(r, g, b) for r, g, b in map(bytes.fromhex, HEXADECIMAL.split())]


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


def _linear(colors: NDArray[np.int_]) -> NDArray[np.float64]:
    """Convert channels of sRGB in 0..255 to linear light in 0..1 (IEC 61966-2-1)."""
    values = colors / 255
    linear: NDArray[np.float64] = np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    return linear
