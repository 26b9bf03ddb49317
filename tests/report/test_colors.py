from itertools import combinations

import numpy as np

from mvit_det.report.colors import PALETTE, color_of, text_color


def test_the_palette_starts_with_tab10_and_is_the_same_on_every_machine():
    assert color_of(1) == (0xFF, 0x7F, 0x0E)
    assert color_of(9) == (0x17, 0xBE, 0xCF)
    assert [color_of(number) for number in (10, 79, 80)] == [(0, 0, 255), (85, 119, 221), (170, 68, 0)]
    assert color_of(len(PALETTE)) == color_of(0)


def test_80_classes_have_colors_that_differ():
    colors = np.array([color_of(label) for label in range(1, 81)])
    assert min(abs(first - second).max() for first, second in combinations(colors, 2)) >= 24


def test_text_is_legible_on_bright_and_dark_colors():
    assert text_color((255, 255, 0)) == (0, 0, 0)
    assert text_color((0, 0, 255)) == (255, 255, 255)
