"""Names in the lists of a data set lead to files in its folder alone."""

import os

import pytest

from mvit_det.data.folders import open_folder, read_split
from mvit_det.errors import InputError
from tests.data.formats.files import write_files

XML = (
    "<annotation><object><name>nut</name><bndbox><xmin>1</xmin><ymin>5</ymin><xmax>30</xmax><ymax>20</ymax>"
    "</bndbox></object></annotation>"
)


@pytest.mark.parametrize("name", ["../outside/a.png", "{root}/outside/a.png", "images/../../outside/a.png"])
def test_a_yolo_list_does_not_leave_its_folder(tmp_path, name):
    write_files(
        tmp_path,
        {
            "outside/a.png": None,
            "set/images/b.png": None,
            "set/labels/b.txt": "0 0.5 0.5 0.1 0.1\n",
            "set/data.yaml": "train: train.txt\nnames: [nut]\n",
            "set/train.txt": f"images/b.png\n{name.format(root=tmp_path)}\n",
        },
    )
    with pytest.raises(InputError, match=r"train\.txt: .*outside/a\.png is outside the folder"):
        read_split(open_folder(tmp_path / "set"), "train")


@pytest.mark.parametrize("name", ["../../outside/a", "{root}/outside/a"])
def test_a_voc_list_does_not_leave_its_folder(tmp_path, name):
    write_files(
        tmp_path,
        {
            "outside/a.xml": XML,
            "outside/a.png": None,
            "set/JPEGImages/b.png": None,
            "set/Annotations/b.xml": XML,
            "set/ImageSets/Main/train.txt": f"b\n{name.format(root=tmp_path)}\n",
        },
    )
    with pytest.raises(InputError, match=r"set/Annotations/a\.xml: does not exist"):
        read_split(open_folder(tmp_path / "set"), "train")


def test_pipes_in_a_folder_are_not_read(tmp_path):
    write_files(
        tmp_path,
        {
            "images/b.png": None,
            "labels/b.txt": "0 0.5 0.5 0.1 0.1\n",
            "data.yaml": "train: images\nnames: [nut]\n",
        },
    )
    for name in ("a.yaml", "train.txt", "labels/c.txt", "classes.txt"):
        os.mkfifo(tmp_path / name)
    assert read_split(open_folder(tmp_path), "train").num_objects == 1
