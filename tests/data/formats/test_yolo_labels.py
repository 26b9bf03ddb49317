import pytest

from mvit_det.data.formats.interface import LabelError
from mvit_det.data.formats.yolo_labels import parse_label, read_labels

NAMES = {0: "cat", 1: "dog"}
SIZE = (200, 100)


def parse(line):
    return parse_label(line.split(), NAMES, SIZE)


def test_a_box_is_converted_to_pixels():
    label = parse("1 0.5 0.5 0.1 0.4")
    assert label == {"category_id": 1, "bbox": pytest.approx([90, 30, 20, 40])}


@pytest.mark.parametrize("text", ["0 0.1 0.1 0.5 0.1 0.5 0.8", "0.0 0.1 0.1 0.5 0.1 0.5 0.8"])
def test_a_polygon_keeps_its_points_and_gets_their_box(text):
    label = parse(text)
    assert label["category_id"] == 0
    assert label["segmentation"] == [pytest.approx([20, 10, 100, 10, 100, 80])]
    assert label["bbox"] == pytest.approx([20, 10, 80, 70])


def test_an_oriented_box_is_a_polygon_of_four_points():
    label = parse("0 0.5 0 1 0.5 0.5 1 0 0.5")
    assert label["segmentation"] == [[100, 0, 200, 50, 100, 100, 0, 50]]
    assert label["bbox"] == [0, 0, 200, 100]


def test_rounding_beyond_the_image_is_accepted():
    assert parse("0 -0.0005 0 1.0009 0 1 1")["bbox"] == [0, 0, 200, 100]
    assert "bbox" in parse("0 0.5 0.5 1.0009 1")


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("0 0.5 0.5 0.1", "bad_label", "has 4 values; expected class, center x,"),
        ("0 0.5 0.5 0.1 0.1 0.9", "bad_label", r"has 6 values \(a box and its confidence\?\)"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.9", "bad_label", "has 8 values"),
        ("cat 0.5 0.5 0.1 0.1", "bad_label", "'cat' is not a number"),
        ("0 0.5 nan 0.1 0.1", "bad_label", "'nan' is not a number"),
        ("0,0.5,0.5,0.1,0.1", "bad_label", "has 1 value; expected"),
        ("0.5 0.5 0.5 0.1 0.1", "bad_label", "class 0.5 is not a whole number"),
        ("2 0.5 0.5 0.1 0.1", "unknown_category", "there is no class 2; expected 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "unknown_category", "there is no class -1; expected"),
        ("0 100 50 20 40", "bad_label", "100 is outside 0 to 1"),
        ("0 0.5 0.5 -0.1 0.1", "bad_label", "-0.1 is outside 0 to 1"),
        ("0 0.5 0.5 0 0.1", "empty_box", "width of 0 and a height of 0.1"),
        ("0 0.1 0.1 0.1 0.5 0.1 0.9", "empty_box", "lie on one line"),
    ],
)
def test_a_bad_line_is_named(line, kind, message):
    with pytest.raises(LabelError, match=message) as error:
        parse(line)
    assert error.value.kind == kind


def test_a_file_with_a_byte_order_mark_and_other_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.5 0.5  \r\n\r\n9 0.5 0.5 0.5 0.5\r\n\t1 0.5 0.5 1 1\r\n")
    objects, problems = read_labels(path, NAMES, SIZE)
    assert [(each["_source"], each["category_id"], each["bbox"]) for each in objects] == [
        (f"{path}: line 1", 0, [50, 25, 100, 50]),
        (f"{path}: line 4", 1, [0, 0, 200, 100]),
    ]
    assert [str(problem) for problem in problems] == [f"{path}: line 3: there is no class 9; expected 0 to 1"]


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    objects, [problem] = read_labels(path, NAMES, SIZE)
    assert objects is None
    assert problem.kind == "bad_label"
    assert "is not a text file" in problem.message
