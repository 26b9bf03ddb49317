import pytest

from mvit_det.data.formats.yolo_keypoints import MIN_LABELS, refuse_keypoints
from mvit_det.errors import InputError

TWO = "0 0.5 0.5 0.2 0.4 0.45 0.4 2 0.55 0.6 1"  # the length of a polygon of five points
OCCLUDED = "0 0.3 0.3 0.2 0.2 0.9 0.9 1 0 0 0"  # may lie outside the box
ONE = "0 0.5 0.5 0.2 0.4 0.45 0.4 2"
POLYGON = "0 0.5 0.5 0.2 0.4 0.45 0.4 0.3 0.55 0.6 0.7"
CORNER = "0 0.3 0.3 0.2 0.2 0.1 0.1 0 0.1 0.1 0"  # a polygon of which two points are at the edges
IMAGE = "0 0 0 1 0 1 1 0 1 0 0"  # a closed polygon around the whole image
BOX = "0 0.5 0.5 0.2 0.4"


def write(folder, *files):
    """Write label files, and return their paths and that of a missing file."""
    paths = [folder / f"{number}.txt" for number in range(len(files) + 1)]
    for path, lines in zip(paths, files, strict=False):
        path.write_text("".join(f"{line}\n" for line in lines))
    return paths[::-1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([[], ["", TWO], [OCCLUDED, TWO]], "2.txt: line 1: 11 values .* a box and 2 keypoints with"),
        ([[ONE]], "0.txt: line 1: 8 values .* a box and 1 keypoint with visibility; .* export boxes or"),
        ([[OCCLUDED] * MIN_LABELS], "0.txt: line 1: 11 values"),
    ],
)
def test_boxes_with_keypoints_are_refused(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        refuse_keypoints(write(tmp_path, *files))


@pytest.mark.parametrize(
    "files",
    [
        [],
        [[]],
        [[BOX] * MIN_LABELS],
        [[TWO] * MIN_LABELS, [BOX]],
        [[TWO, POLYGON]],
        [[TWO, ONE]],
        [[CORNER] * (MIN_LABELS - 1)],
        [[IMAGE] * MIN_LABELS],
        [[f"{POLYGON} 0.1 0.2 0.3"] * MIN_LABELS],
        [["0 0.5 0.5 0.2 0.4 x 0.4 2"]],
    ],
)
def test_other_labels_are_not_refused(tmp_path, files):
    refuse_keypoints(write(tmp_path, *files))


def test_a_file_that_is_not_text_is_left_to_the_reader(tmp_path):
    [missing, path] = write(tmp_path, [TWO])
    path.write_bytes(b"\xff\xd8")
    refuse_keypoints([missing, path])
