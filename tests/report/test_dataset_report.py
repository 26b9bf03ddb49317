import io
import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mvit_det.data.check import CheckedData, check_data
from mvit_det.data.problem_kinds import KINDS
from mvit_det.data.problems import Problem
from mvit_det.report.dataset_report import print_report, write_report


def printed(data):
    console = Console(file=io.StringIO(), width=100, markup=False, highlight=False, soft_wrap=True)
    print_report(data, console)
    return console.file.getvalue()


def make_problems(kind, count):
    return [
        Problem(kind, Path("train.json"), f"annotations[{i}].bbox", f"[{i}] is bad") for i in range(count)
    ]


def test_problems_are_grouped_with_the_first_three_of_each_kind():
    problems = make_problems("tiny_box", 3) + make_problems("empty_box", 4) + make_problems("bad_box", 5)
    data = CheckedData(Path("data"), "COCO", {}, ("val.json: is not JSON",), tuple(problems))
    lines = printed(data).splitlines()
    assert "  val.json: is not JSON" in lines
    start = lines.index("  boxes that are not four finite numbers: 5")  # the most frequent error comes first
    assert lines[start + 1 : start + 7] == [
        "      train.json: annotations[0].bbox: [0] is bad",
        "      train.json: annotations[1].bbox: [1] is bad",
        "      train.json: annotations[2].bbox: [2] is bad",
        "      and 2 more",
        f"    {KINDS['bad_box'].remedy}",
        "  boxes without area: 4",
    ]
    warning = lines.index("  boxes of less than one pixel in width or height: 3")
    assert warning > start
    assert lines[warning + 4] == f"    {KINDS['tiny_box'].remedy}"


def test_statistics_on_the_terminal(coco_folder):
    text = printed(check_data(coco_folder / "data.json"))
    rows = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in text.splitlines() if "│" in line
    }
    assert rows["images"] == "2"
    assert rows["without objects"] == "1 (50%)"
    assert rows["width, px"] == "30 / 45 / 60"
    assert rows["per image"] == "0 / 1 / 2"
    assert rows["crowd regions, difficult objects"] == "1"
    assert rows["at the border of their image"] == "1 (50%)"
    assert rows["bolt"] == "1 (1)"


def test_the_files_hold_everything(coco_data, coco_folder):
    coco_data["annotations"][0]["bbox"] = [10, 5, 0, 10]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    data = check_data(coco_folder / "data.json")
    out = coco_folder / "new" / "report"
    data = replace(data, errors=("the whole is bad",))
    for _ in range(2):  # a second check replaces the files of the first
        files, undrawn = write_report(data, out)
        assert files == ["samples.png", "statistics.png", "report.json", "problems.txt"]
        assert undrawn == []
    lines = (out / "problems.txt").read_text().splitlines()
    assert lines[0] == "error: the whole is bad"
    assert len(lines) == 1 + len(data.problems)
    expected = f"drop: boxes without area: {coco_folder / 'data.json'}: annotations[0].bbox: "
    assert any(line.startswith(expected) for line in lines)
    report = json.loads((out / "report.json").read_text())
    assert report["usable"] is False
    assert report["problems"]["empty_box"] == {"count": 1, "effect": "drop"}
    assert report["splits"]["train"]["objects"] == 1
