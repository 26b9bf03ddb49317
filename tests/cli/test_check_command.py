import json

import pytest

from mvit_det.cli.main import main
from mvit_det.data.dataset import read_dataset


def check(*arguments):
    """Run the command, and return its exit status."""
    try:
        main(["check", *map(str, arguments)])
    except SystemExit as error:
        return error.code
    return 0


def test_good_data(coco_folder, capsys):
    out = coco_folder / "out"
    assert check(coco_folder, "--read-images", "--out", out) == 0
    assert "COCO, train: 2 images, 2 objects; 2 classes (bolt, nut)" in capsys.readouterr().out
    assert (out / "samples.png").exists()


def test_bad_data_are_reported_and_fixed(coco_data, coco_folder, capsys):
    coco_data["annotations"][0]["bbox"] = [10, 5, 0, 10]
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    fixed = coco_folder / "new" / "fixed.json"
    assert check(coco_folder / "data.json", "--fix", fixed, "--out", coco_folder / "out") == 1
    output = capsys.readouterr().out
    assert "boxes without area: 1" in output
    assert f"--json {fixed} --images {coco_folder / 'images'}" in output
    dataset = read_dataset(fixed, coco_folder / "images")  # no problem is left
    assert dataset.num_objects == 1
    assert check(coco_folder / "data.json", "--fix", fixed, "--out", coco_folder / "out") == 2
    assert f"{fixed}: already exists" in capsys.readouterr().err


def test_each_split_is_fixed(coco_folder):
    (coco_folder / "val.json").write_text((coco_folder / "data.json").read_text())
    (coco_folder / "data.json").rename(coco_folder / "train.json")
    assert check(coco_folder, "--fix", coco_folder / "out" / "fixed.json", "--out", coco_folder / "out") == 0
    for split in ("train", "val"):
        dataset = read_dataset(coco_folder / "out" / f"fixed.{split}.json", coco_folder / "images")
        assert dataset.num_objects == 2
    assert check(coco_folder, "--fix", coco_folder / "out" / "fixed.json", "--out", coco_folder / "out") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such folder"),
        (["data.json", "--fix", "fixed.txt"], "fixed.txt: expected a file name that ends with .json"),
        (["data.json", "--out", "data.json"], "data.json: is a file; expected a folder to write to"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, coco_folder, monkeypatch, capsys):
    monkeypatch.chdir(coco_folder)
    before = sorted(coco_folder.rglob("*"))
    assert check(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(coco_folder.rglob("*")) == before
