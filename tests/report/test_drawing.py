import numpy as np
import pytest

from mvit_det.report.drawing import draw_entries, draw_objects, enlarge, side_by_side, write_image


def draw(names, **options):
    image = np.full((80, 120, 3), 128, np.uint8)
    masks = np.zeros((2, 80, 120), bool)
    masks[0, 30:60, 10:40] = masks[1, 30:60, 70:100] = True
    boxes = np.array([[10, 30, 40, 60], [70, 30, 100, 60]])
    drawn = draw_objects(image, boxes, masks, np.array([1, 2]), names, **options)
    assert (image == 128).all()  # the input is unchanged
    return drawn


def test_objects_are_colored_and_the_background_is_unchanged():
    drawn = draw({1: "nut", 2: "bolt"})
    colored = (drawn != 128).any(axis=2)
    assert colored[30:60, 10:40].all()
    assert colored[30:60, 70:100].all()
    assert not colored[65:].any()
    assert (drawn[45, 25] != drawn[45, 85]).any()  # each class has its own color


def test_scores_change_the_caption():
    names = {1: "nut", 2: "bolt"}
    assert (draw(names) != draw(names, scores=np.array([0.9, 0.8]))).any()


def test_classes_have_the_colors_of_the_palette():
    image, names = np.zeros((80, 120, 3), np.uint8), {1: "nut", 2: "bolt"}
    masks = np.zeros((1, 80, 120), bool)
    masks[0, 35:50, 15:30] = True
    drawn = draw_objects(image, np.array([[10, 30, 40, 60]]), masks, np.array([1]), names)
    assert (drawn[30:60, 10] == [0xFF, 0x7F, 0x0E]).all()  # RGB
    assert abs(drawn[35:50, 15:30].astype(float) - [127.5, 63.5, 7]).max() <= 0.5


def test_colors_follow_the_order_of_the_categories():
    image, boxes = np.zeros((80, 120, 3), np.uint8), np.array([[10, 30, 40, 60], [70, 30, 100, 60]])
    drawn = draw_objects(image, boxes, None, np.array([90, 4]), {4: "nut", 90: "bolt"})
    expected = draw_objects(image, boxes, None, np.array([2, 1]), {1: "nut", 2: "bolt"})
    assert (drawn == expected).all()
    assert (drawn[30, 10] != drawn[30, 70]).any()


def test_objects_of_a_single_class_have_different_colors():
    drawn = draw_objects(
        np.zeros((80, 120, 3), np.uint8),
        np.array([[10, 30, 40, 60], [70, 30, 100, 60]]),
        None,
        np.array([1, 1]),
        {1: "nut"},
    )
    assert drawn[30, 10].any()
    assert drawn[30, 70].any()
    assert (drawn[30, 10] != drawn[30, 70]).any()


def test_a_long_name_does_not_cover_the_image():
    image, boxes = np.zeros((100, 1000, 3), np.uint8), np.array([[0, 50, 20, 60]])
    drawn = draw_objects(image, boxes, None, np.array([1]), {1: "n" * 300, 2: "bolt"})
    assert drawn[:45].any()
    assert not drawn[:, 600:].any()


@pytest.mark.parametrize("size_hw", [(32, 32), (1, 1), (5, 300), (300, 5)])
def test_boxes_beyond_the_edges_of_small_images_are_drawn_inside(size_hw):
    image = np.zeros((*size_hw, 3), np.uint8)
    drawn = draw_objects(image, np.array([[-1e12, -5, 1e12, 1e12]]), None, np.array([1]), {1: "nut", 2: ""})
    assert drawn.shape == image.shape
    assert drawn[-1].any(axis=1).all()  # the lower edge of the box
    assert drawn[:, -1].any(axis=1).all()


def test_an_image_without_objects_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    nothing = np.zeros((0, 4)), np.zeros((0, 50, 40), bool), np.zeros(0, int)
    assert (draw_objects(image, *nothing, {1: "nut"}) == image).all()


def test_two_images_are_placed_side_by_side(tmp_path):
    left, right = np.full((30, 90, 3), 10, np.uint8), np.full((30, 90, 3), 200, np.uint8)
    canvas = side_by_side(left, right, ("left", "right"))
    assert (canvas[-30:, :90] == left).all()
    assert (canvas[-30:, -90:] == right).all()
    write_image(tmp_path / "new" / "canvas.png", canvas)
    assert (tmp_path / "new" / "canvas.png").stat().st_size > 0


def test_objects_without_masks_are_drawn_as_boxes():
    image = np.full((80, 120, 3), 128, np.uint8)
    entries = [{"bbox": [10, 30, 30, 30], "category_id": 4}, {"bbox": [70, 30, 30, 30], "category_id": 9}]
    drawn = draw_entries(image, entries, {4: "", 9: ""})
    colored = (drawn != 128).any(axis=2)
    assert colored[30, 15:35].all()  # an edge
    assert not colored[35:55, 15:35].any()  # the inside
    entries[1]["segmentation"] = [[70, 30, 100, 30, 100, 60, 70, 60]]
    enlarged = np.full((160, 240, 3), 128, np.uint8)
    drawn = draw_entries(enlarged, entries, {4: "", 9: ""}, (80, 120))
    colored = (drawn != 128).any(axis=2)
    assert not colored[70:110, 30:70].any()
    assert colored[70:110, 150:190].all()


def test_small_images_are_enlarged_by_a_whole_factor():
    image = np.arange(64 * 50 * 3).reshape(64, 50, 3).astype(np.uint8)
    assert (enlarge(image)[::10, ::10] == image).all()
    assert [enlarge(np.zeros((2, width), bool)).shape[1] for width in (320, 321, 640, 900)] == [
        640,
        642,
        640,
        900,
    ]


def test_lines_suit_the_objects_of_a_large_image():
    for side, is_thick in ((20, False), (1500, True)):
        boxes = np.array([[100, 100, 100 + side, 100 + side]])
        drawn = draw_objects(np.zeros((2000, 3000, 3), np.uint8), boxes, None, np.array([1]), {1: "nut"})
        assert drawn[110, 100].any()
        assert drawn[110, 98].any() == is_thick
