import json

import pytest

from mvit_det.data.dataset import read_dataset
from mvit_det.data.resized_sizes import find_unusual_sizes

LIMITS = [(800, 1333)]


def find(folder, data, width, height, limits):
    data["images"], data["annotations"] = [data["images"][0] | {"width": width, "height": height}], []
    (folder / "data.json").write_text(json.dumps(data))
    return find_unusual_sizes(read_dataset(folder / "data.json", None), limits)


@pytest.mark.parametrize(
    ("width", "height", "limits", "expected"),
    [
        (640, 480, LIMITS, []),
        (4266, 3200, LIMITS, []),  # by 1 / 4
        (4267, 3201, LIMITS, [("large_image", "factor of 0.25")]),
        (8000, 1000, LIMITS, [("large_image", "factor of 0.17")]),  # by its long side
        (250, 200, LIMITS, []),  # by 4
        (199, 250, LIMITS, [("small_image", "factor of 4 to")]),
        (100, 80, LIMITS, [("small_image", "100 x 80 px, and is resized by a factor of 10 to")]),
        (100, 80, [*LIMITS, (256, 427)], []),  # of two recipes, the nearest
        (50, 40, [*LIMITS, (256, 427)], [("small_image", "factor of 6.4 to a short side of 256 px")]),
        (50, 40, [], []),
    ],
)
def test_images_that_are_resized_by_more_than_a_factor_of_4(
    coco_folder, coco_data, width, height, limits, expected
):
    problems = find(coco_folder, coco_data, width, height, limits)
    assert [problem.kind for problem in problems] == [kind for kind, _ in expected]
    for problem, (_, message) in zip(problems, expected, strict=True):
        assert message in problem.message
        assert problem.file.name == "a.png"
