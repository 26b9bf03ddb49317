import pytest

from mvit_det.recipes import recipe_for, scaled_long_side, warmup_fraction, warmup_steps


@pytest.mark.parametrize(
    ("variant", "sides"), [("mvitv2_t", (800, 1333)), ("mvitv1_b", (800, 1333)), ("mvitv2_nano", (256, 427))]
)
def test_image_sizes(variant, sides):
    recipe = recipe_for(variant)
    assert (recipe.short_side, recipe.long_side) == sides


def test_long_side_is_proportional_to_the_short_side():
    assert [scaled_long_side(side) for side in (800, 400, 224, 96)] == [1333, 666, 373, 160]


@pytest.mark.parametrize(("num_steps", "expected"), [(9, 0), (480, 48), (2499, 249), (67_500, 250)])
def test_warm_up_is_at_most_a_tenth_of_the_run(num_steps, expected):
    assert warmup_steps(num_steps) == expected
    assert warmup_fraction(num_steps) == expected / num_steps
