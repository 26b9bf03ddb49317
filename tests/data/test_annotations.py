import json
import math

import pytest
from pycocotools import mask as coco_mask

from mvit_det.data.annotations import category_names, read_coco
from mvit_det.data.fields import decode_counts
from mvit_det.errors import InputError


def read(folder, data):
    path = folder / "data.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return read_coco(path)


def test_annotations_are_renumbered_and_missing_areas_computed(coco_folder):
    coco = read_coco(coco_folder / "data.json")
    assert category_names(coco) == {4: "bolt", 90: "nut"}
    assert sorted(coco.anns) == [1, 2, 3]  # pycocotools uses the id 0 for "no match"
    assert coco.anns[1]["area"] == 20 * 10
    assert coco.annToMask(coco.anns[1]).sum() == 20 * 10
    assert coco.annToMask(coco.anns[2])[:, 30:].all()
    assert coco.getAnnIds(imgIds=[3]) == []


def test_a_missing_file_and_invalid_json_are_rejected(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"data\.json: is not JSON: .* line 1, column 13"):
        read(tmp_path, '{"images": [}')
    with pytest.raises(InputError, match="holds a list; expected an object with images"):
        read(tmp_path, "[]")
    with pytest.raises(InputError, match="cannot be read"):
        read_coco(tmp_path)


@pytest.mark.parametrize("name", ["images", "annotations", "categories"])
def test_a_missing_list_is_named(tmp_path, coco_data, name):
    del coco_data[name]
    with pytest.raises(InputError, match=f"{name}: is missing; a COCO file has the lists"):
        read(tmp_path, coco_data)


def change(where, field, value):
    def apply(data):
        entry = data[where[0]][where[1]]
        if value is None:
            del entry[field]
        else:
            entry[field] = value

    return apply


FIRST = ("annotations", 0)
BAD = [
    (lambda d: d["categories"].clear(), r"categories: is empty"),
    (lambda d: d["images"].append(5), r"images\[2\]: 5 is not an object"),
    (lambda d: d["images"].append(d["images"][0]), r"images: the id 7 is repeated; ids must be unique"),
    (change(("images", 1), "file_name", None), r"images\[1\]\.file_name: is missing"),
    (change(("images", 1), "width", 0), r"images\[1\]: width x height 0 x 50 must be from 1"),
    (change(("images", 1), "height", "9"), r'images\[1\]\.height: "9" is not a whole number'),
    (change(("categories", 0), "name", None), r"categories\[0\]\.name: is missing"),
    (change(FIRST, "image_id", 8), r"annotations\[0\]\.image_id: no entry of images has the id 8"),
    (change(FIRST, "category_id", 1), r"\.category_id: no entry of categories has the id 1"),
    (change(FIRST, "iscrowd", 2), r"\.iscrowd: 2 is neither 0 nor 1"),
    (change(FIRST, "bbox", None), r"\.bbox: is missing; expected \[x, y, width, height\]"),
    (change(FIRST, "bbox", [1, 2, math.nan, 4]), r"\.bbox: contains nan, which is not finite"),
    (change(FIRST, "bbox", [1, 2, -3, 4]), r"\.bbox: \[1, 2, -3, 4\] is not \[x, y, width, heigh"),
    (change(FIRST, "bbox", [1, 2, 3]), r"\.bbox: \[1, 2, 3\] is not \[x, y, width, height\]"),
    (change(FIRST, "bbox", ["1", 2, 3, 4]), r'\.bbox: \["1", 2, 3, 4\] is not \[x, y, width, h'),
    (change(FIRST, "area", math.inf), r"\.area: contains inf, which is not finite"),
    (change(FIRST, "segmentation", None), r"\.segmentation: is missing; expected polygons or RLE"),
    (change(FIRST, "segmentation", "x"), r'\.segmentation: "x" is not a mask'),
    (change(FIRST, "segmentation", [[1, 2, 3, 4]]), r"\[0\]: 4 numbers are not a polygon"),
    (
        change(FIRST, "segmentation", [[1, 2, 3, 4, math.nan, 6]]),
        r"annotations\[0\]\.segmentation\[0\]: contains nan, which is not finite",
    ),
    (
        change(FIRST, "segmentation", [[1, 2, 3, 4, 1e9, 6]]),
        r"the polygon spans 1 to 1e\+09, far outside its image of 60 x 40 px",
    ),
    (
        change(FIRST, "segmentation", {"size": [60, 40], "counts": [2400]}),
        r"\.segmentation\.size: \[60, 40\] is not the \[height, width\] of its image, \[40, 60\]",
    ),
    (
        change(FIRST, "segmentation", {"size": [40, 60], "counts": [2399]}),
        r"\.counts: the runs cover 2399 pixels; the image has 2400",
    ),
    (
        change(FIRST, "segmentation", {"size": [40, 60], "counts": "zzzz"}),
        r"\.counts: 'z' is not a character of compressed RLE",
    ),
    (
        change(FIRST, "segmentation", {"size": [40, 60], "counts": "PS2P"}),
        r"\.counts: the last run is incomplete",
    ),
    (
        change(FIRST, "segmentation", {"size": [40, 60], "counts": "55"}),
        r"\.counts: the runs cover 10 pixels; the image has 2400",
    ),
    (change(("images", 0), "width", 10**9), r"images\[0\]: width x height .* from 1 to 32767 px"),
    (
        change(FIRST, "segmentation", {"size": [40, 60], "counts": [1200, 2400, -1200]}),
        r"\.counts: the runs cover 2400 pixels",
    ),
]


@pytest.mark.parametrize(("corrupt", "message"), BAD)
def test_a_bad_field_is_named_in_one_line(tmp_path, coco_data, corrupt, message):
    corrupt(coco_data)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, coco_data)
    assert str(caught.value).startswith(str(tmp_path / "data.json"))
    assert "\n" not in str(caught.value)


def test_compressed_rle_decodes_to_what_pycocotools_encoded():
    runs = [0, 3, 1000, 70, 2, 5000, 40000, 925]
    size = [50, sum(runs) // 50]
    text = coco_mask.frPyObjects({"size": size, "counts": runs}, *size)["counts"].decode()
    assert decode_counts(text, "counts") == runs
