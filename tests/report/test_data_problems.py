import json

import pytest

from mvit_det.data.dataset import read_dataset
from mvit_det.report.data_problems import report_data


@pytest.fixture
def dataset(coco_folder, coco_data):
    """A data set with two warnings of one kind, one of another, and a box over the edge."""
    coco_data["categories"] += [{"id": 91, "name": "a\x1b[31m"}, {"id": 92, "name": "b"}]
    coco_data["annotations"][0]["bbox"] = [10, 5, 0.5, 45]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    return read_dataset(coco_folder / "data.json", coco_folder / "images")


def test_each_kind_of_warning_is_one_counted_line(dataset, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    lines = report_data([dataset], out, drop_invalid=False, limits=[(50, 80)])
    warnings = [line.partition("warning: ")[2] for line in lines if "warning: " in line]
    source = dataset.source
    # The name is escaped when it is read, and so is its backslash in the message.
    name = r"'a\\x1b[31m'"
    assert (
        warnings[0]
        == f"categories without objects (2), such as {source}: categories[2]: {name} has no objects"
    )
    assert f"boxes of less than one pixel in width or height (1), such as {source}: annot" in warnings[1]
    assert any("masks that do not match their box (1), such as" in line for line in warnings)
    assert all(line.isprintable() for line in lines)
    assert any(
        line.endswith("used without clipping: boxes that reach over the edge of their image (1)")
        for line in lines
    )
    assert len((out / "data_problems.txt").read_text().splitlines()) == len(dataset.problems)


def test_sizes_are_compared_with_those_of_the_detector(dataset, tmp_path):
    lines = report_data([dataset], tmp_path, drop_invalid=False, limits=[(800, 1333)])
    (line,) = (line for line in lines if "much smaller" in line)
    assert "images much smaller than the size they are resized to (2), such as" in line
    assert (tmp_path / "data_problems.txt").read_text().count("factor of") == 2
