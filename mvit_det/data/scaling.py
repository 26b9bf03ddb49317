"""The sizes to which images are scaled and padded for a detector."""


def scaled_shape(shape: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """Return the (height, width) to which an image of (height, width) ``shape`` is scaled, px.

    The short side becomes ``short_side``, or less if the long side would exceed ``long_side``. Halves
    are rounded up, and no side is less than 1 px.
    """
    scale = short_side / min(shape)
    height, width = shape[0] * scale, shape[1] * scale
    if max(height, width) > long_side:
        scale = long_side / max(height, width)
        height, width = height * scale, width * scale
    return max(1, int(height + 0.5)), max(1, int(width + 0.5))


def padded_shape(scaled: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Return the (height, width) to which a scaled image is padded: multiples, px."""
    height, width = (-(-side // multiple) * multiple for side in scaled)
    return height, width
