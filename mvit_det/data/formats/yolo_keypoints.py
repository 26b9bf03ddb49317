"""Recognition of YOLO labels with keypoints, which would be read as polygons."""

from collections.abc import Iterable
from pathlib import Path

from mvit_det.data.formats.yolo_labels import read_fields
from mvit_det.errors import InputError, counted

VISIBILITIES = (0, 1, 2)  # not labeled, labeled but not visible, visible
MIN_LABELS = 10  # fewer labels may be polygons by chance, unless one has a visibility of 2
TOLERANCE = 0.01  # boxes may reach over the edge of their image by this fraction of its side


def refuse_keypoints(paths: Iterable[Path]) -> None:
    """Check that the labels of a data set are not all boxes with keypoints.

    Such a label has a box, which lies in the image, and then x, y and the visibility of each keypoint. All
    labels have the same number of keypoints. Reading ends at the first label that differs, so usually at the
    first one. Keypoints without visibility are not recognized, because polygons may have the same values.

    Args:
        paths: the label files. Those that do not exist are skipped.

    Raises:
        InputError: names the first label.
    """
    lengths, has_visible, num_labels, first = set(), False, 0, ""
    for path in filter(Path.is_file, paths):
        try:
            lines = read_fields(path)
        except (OSError, UnicodeDecodeError, InputError):  # reading the labels reports it
            return
        for number, fields in lines:
            visibilities = _visibilities(fields)
            lengths.add(len(fields))
            if not visibilities or len(lengths) > 1:
                return
            first = first or f"{path}: line {number}"
            has_visible |= 2 in visibilities
            num_labels += 1
    if has_visible or num_labels >= MIN_LABELS:
        [length] = lengths
        raise InputError(
            f"{first}: {counted(length, 'value')} in this and all other labels are a box and "
            f"{counted((length - 5) // 3, 'keypoint')} with visibility; labels with keypoints are not "
            "supported; export boxes or polygons"
        )


def _visibilities(fields: list[str]) -> list[float]:
    """Return the visibilities of the keypoints of a label; empty if it is not a box with keypoints."""
    if len(fields) < 8 or (len(fields) - 5) % 3:
        return []
    try:
        _, x, y, width, height, *keypoints = map(float, fields)
    except ValueError:
        return []
    is_inside = all(
        side > 0 and side / 2 - TOLERANCE <= center <= 1 - side / 2 + TOLERANCE
        for center, side in ((x, width), (y, height))
    )
    visibilities = keypoints[2::3]
    return visibilities if is_inside and all(value in VISIBILITIES for value in visibilities) else []
