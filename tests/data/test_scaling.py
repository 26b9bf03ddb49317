import pytest

from mvit_det.data.scaling import scaled_shape


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((480, 640), (800, 1067)),  # 1066.7
        ((640, 480), (1067, 800)),
        ((500, 1000), (667, 1333)),  # 666.5 rounds up
        ((1, 5000), (1, 1333)),  # 0.27
        ((800, 1333), (800, 1333)),
    ],
)
def test_sides_are_rounded_to_the_nearest(shape, expected):
    assert scaled_shape(shape, 800, 1333) == expected
