import json
import math
import shutil

import pytest
from PIL import Image

from mvit_det.data.dataset import read_dataset
from mvit_det.data.problem_kinds import EFFECTS, KINDS
from mvit_det.errors import InputError


def write(folder, data, encoding="utf-8"):
    path = folder / "data.json"
    path.write_bytes((data if isinstance(data, str) else json.dumps(data)).encode(encoding))
    return path


def read(folder, data, **options):
    return read_dataset(write(folder, data), folder / "images", **options)


def kinds(dataset):
    return [problem.kind for problem in dataset.problems]


def change(where, field, value):
    def apply(data):
        data[where[0]][where[1]][field] = value

    return apply


def delete(where, field):
    def apply(data):
        del data[where[0]][where[1]][field]

    return apply


def both(*changes):
    def apply(data):
        for each in changes:
            each(data)

    return apply


# An image of 60 x 40 px with a polygon, an RLE mask and an RLE crowd, and an image of 30 x 50 px.
FIRST = ("annotations", 0)
SECOND = ("annotations", 1)
IMAGE = ("images", 0)
SQUARE = [[10.0, 5.0, 30.0, 5.0, 30.0, 15.0, 10.0, 15.0]]
PAIRS = [[10, 5], [30, 5], [30, 15], [10, 15]]


def test_a_data_set_without_quirks_has_no_problems(coco_folder):
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    assert dataset.problems == ()
    assert dataset.categories == {4: "bolt", 90: "nut"}
    assert (dataset.num_objects, dataset.num_masks, dataset.has_masks) == (2, 2, True)
    assert sorted(dataset.coco.anns) == [1, 2, 3]  # pycocotools uses the id 0 for "no match"
    assert dataset.coco.anns[1]["area"] == 20 * 10
    assert dataset.coco.annToMask(dataset.coco.anns[1]).sum() == 20 * 10
    assert dataset.coco.getAnnIds(imgIds=[3]) == []


def rename_ids(data):
    for image in data["images"]:
        image["id"] = {7: "9f1c-aa", 3: "77b0-cd"}[image["id"]]
    for entry in data["annotations"]:
        entry["image_id"] = "9f1c-aa"


def ids_as_strings(data):
    for entry in data["images"] + data["categories"]:
        entry["id"] = str(entry["id"])
    for entry in data["annotations"]:
        entry["image_id"] = float(entry["image_id"])
        entry["category_id"] = f" {entry['category_id']}"


def list_image_twice(data):
    data["images"].append(data["images"][0] | {"id": 8, "file_name": "./a.png"})
    data["annotations"][0]["image_id"] = 8


def first(field):
    return lambda coco: coco.anns[1].get(field)


def read_as_a_png(file_name):
    return change(IMAGE, "file_name", file_name), ["file_name"], lambda c: c.imgs[7]["file_name"], "a.png"


# A quirk, the kinds of problems that it causes, and a value that is read.
READ = {
    "no mask": (delete(FIRST, "segmentation"), [], first("segmentation"), None),
    "null mask": (change(FIRST, "segmentation", None), [], first("area"), 200),
    "empty mask": (change(FIRST, "segmentation", []), [], first("segmentation"), None),
    "empty polygon": (change(FIRST, "segmentation", [[]]), [], first("segmentation"), None),
    "UUIDs": (rename_ids, ["ids"], lambda coco: coco.imgs[1]["file_name"], "a.png"),
    "ids in strings": (ids_as_strings, ["ids", "ids"], lambda coco: sorted(coco.imgs), [3, 7]),
    "no size": (delete(IMAGE, "width"), ["size"], lambda coco: coco.imgs[7]["width"], 60),
    "size of 0": (change(IMAGE, "height", 0), ["size"], lambda coco: coco.imgs[7]["height"], 40),
    "size in a string": (change(IMAGE, "height", "40"), [], lambda coco: coco.imgs[7]["height"], 40),
    "whole float": (change(IMAGE, "width", 60.0), [], lambda coco: type(coco.imgs[7]["width"]), int),
    "no box": (delete(FIRST, "bbox"), ["missing_box"], first("bbox"), [10, 5, 20, 10]),
    "no box of RLE": (delete(SECOND, "bbox"), ["missing_box"], lambda c: c.anns[2]["bbox"], [30, 0, 30, 40]),
    "box in strings": (
        change(FIRST, "bbox", ["10", "5.0", 20, 10]),
        ["numbers"],
        first("bbox"),
        [10, 5, 20, 10],
    ),
    "box in a list": (change(FIRST, "bbox", [[10, 5, 20, 10]]), ["numbers"], first("bbox"), [10, 5, 20, 10]),
    "flat polygon": (change(FIRST, "segmentation", SQUARE[0]), ["mask_form"], first("segmentation"), SQUARE),
    "pairs": (change(FIRST, "segmentation", PAIRS), ["mask_form"], first("segmentation"), SQUARE),
    "lists of pairs": (change(FIRST, "segmentation", [PAIRS]), ["mask_form"], first("segmentation"), SQUARE),
    "short part": (
        change(FIRST, "segmentation", [[1, 2, 3, 4], *SQUARE]),
        ["mask_part"],
        first("segmentation"),
        SQUARE,
    ),
    "iscrowd true": (change(FIRST, "iscrowd", True), ["unused_category"], first("iscrowd"), 1),
    "iscrowd in a string": (change(FIRST, "iscrowd", "0"), [], first("iscrowd"), 0),
    "no iscrowd": (delete(FIRST, "iscrowd"), [], first("iscrowd"), 0),
    "area of 0": (change(SECOND, "area", 0), ["area"], lambda coco: coco.anns[2]["area"], 1200),
    "area that is not a number": (change(FIRST, "area", math.nan), ["area"], first("area"), 200),
    "area in a string": (change(FIRST, "area", "150.5"), [], first("area"), 150.5),
    "name of the folder": read_as_a_png("images/a.png"),
    "path that contains the folder": read_as_a_png("data/set/images/a.png"),
    "backslash": read_as_a_png(".\\a.png"),
    "case of the suffix": read_as_a_png("a.PNG"),
    "inside after all": read_as_a_png("../images/a.png"),
    "image listed twice": (
        list_image_twice,
        ["file_name", "repeated_image"],
        lambda c: len(c.imgToAnns[7]),
        3,
    ),
    "category listed twice": (
        lambda d: d["categories"].append(dict(d["categories"][0])),
        ["repeated_category"],
        lambda c: len(c.cats),
        2,
    ),
    "no category name": (
        delete(("categories", 0), "name"),
        ["category_name"],
        lambda c: c.cats[90]["name"],
        "90",
    ),
    "category given by name": (
        change(FIRST, "category_id", "nut"),
        ["category_by_name"],
        first("category_id"),
        90,
    ),
    "category name of two lines": (
        change(("categories", 0), "name", "a\nb\x1b"),
        [],
        lambda c: c.cats[90]["name"],
        "a b\\x1b",
    ),
    "unused category": (
        lambda d: d["categories"].append({"id": 5, "name": "washer"}),
        ["unused_category"],
        lambda c: len(c.cats),
        3,
    ),
    "same name": (change(("categories", 0), "name", "bolt"), ["repeated_name"], lambda c: len(c.cats), 2),
    "identical annotations": (
        lambda d: d["annotations"].append(dict(d["annotations"][0])),
        ["repeated_annotation"],
        lambda c: len(c.anns),
        4,
    ),
    "half a pixel over the edge": (
        change(FIRST, "bbox", [-0.5, 5, 30.5, 10]),
        [],
        first("bbox"),
        [-0.5, 5, 30.5, 10],
    ),
    "over the edge": (
        change(FIRST, "bbox", [-5, 5, 35, 10]),
        ["box_over_edge"],
        first("bbox"),
        [-5, 5, 35, 10],
    ),
    "box of less than a pixel": (
        both(change(FIRST, "bbox", [10, 5, 0.5, 10]), delete(FIRST, "segmentation")),
        ["tiny_box"],
        first("area"),
        5,
    ),
    "mask elsewhere": (change(FIRST, "bbox", [40, 20, 10, 10]), ["mask_beside_box"], first("area"), 200),
    "polygon without area": (
        change(FIRST, "segmentation", [[10, 5, 30, 15, 10, 5]]),
        ["flat_mask"],
        first("area"),
        200,
    ),
    "RLE without pixels": (
        change(SECOND, "segmentation", {"size": [40, 60], "counts": [2400]}),
        ["flat_mask"],
        lambda coco: coco.anns[2]["area"],
        1200,
    ),
    "RLE of floats": (
        change(SECOND, "segmentation", {"size": [40.0, 60], "counts": [1200.0, 1200.0]}),
        [],
        lambda coco: coco.annToMask(coco.anns[2]).sum(),
        1200,
    ),
    "RLE without a size": (
        change(SECOND, "segmentation", {"counts": [1200, 1200]}),
        ["mask_form"],
        lambda coco: coco.annToMask(coco.anns[2])[:, 30:].sum(),
        1200,
    ),
    "RLE in a list": (
        change(SECOND, "segmentation", [{"size": [40, 60], "counts": [1200, 1200]}]),
        ["mask_form"],
        lambda coco: coco.annToMask(coco.anns[2]).sum(),
        1200,
    ),
    "area of more than the box": (change(FIRST, "area", 1e6), ["area"], first("area"), 200),
    "extra keys": (change(FIRST, "keypoints", [1, 2, 2]), [], first("keypoints"), [1, 2, 2]),
}


@pytest.mark.parametrize("name", READ)
def test_a_quirk_is_read_without_loss(coco_folder, coco_data, name):
    apply, expected_kinds, value, expected = READ[name]
    apply(coco_data)
    dataset = read(coco_folder, coco_data)
    assert kinds(dataset) == expected_kinds
    assert value(dataset.coco) == expected
    assert all("\n" not in str(problem) for problem in dataset.problems)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_file_may_be_of_any_unicode_encoding(coco_folder, coco_data, encoding):
    path = write(coco_folder, coco_data, encoding)
    assert read_dataset(path, coco_folder / "images").num_objects == 2


def repeat_id(data):
    data["images"].append(data["images"][1] | {"id": 7})


RLE = {"size": [40, 60], "counts": [2400]}
ZIGZAG = [value for x in range(20_000) for value in (60 * (x % 2), 20)]

# A change, the kind of its problem, and the message.
DROPPED = [
    (lambda d: d["images"].append(5), "bad_entry", r"data\.json: images\[2\]: 5 is not an object"),
    (delete(IMAGE, "id"), "bad_entry", r"images\[0\]\.id: is missing; expected a whole number"),
    (delete(IMAGE, "file_name"), "bad_entry", r"images\[0\]\.file_name: is missing"),
    (repeat_id, "repeated_id", r"images\[0\]: the id 7 is repeated for another image"),
    (change(IMAGE, "file_name", "c.png"), "missing_image", r"images/c\.png: no such image"),
    (
        change(IMAGE, "file_name", "../a.png"),
        "image_outside",
        r"\.file_name: \.\./a\.png is outside the folder",
    ),
    (
        change(IMAGE, "file_name", "/etc/hosts"),
        "image_outside",
        r"\.file_name: /etc/hosts is outside the fol",
    ),
    (
        change(IMAGE, "file_name", "C:\\data\\images\\a.png"),
        "image_outside",
        r"\.file_name: C:\\data\\images\\a\.png is outside the folder",
    ),
    (
        both(change(FIRST, "category_id", "bolt"), change(("categories", 0), "name", "bolt")),
        "unknown_category",
        r'\.category_id: no entry of categories has the id "bolt"',
    ),
    (lambda d: d["annotations"].append(None), "bad_entry", r"annotations\[3\]: null is not an object"),
    (
        change(FIRST, "image_id", 8),
        "unknown_image",
        r"annotations\[0\]\.image_id: no entry of images has the",
    ),
    (delete(FIRST, "image_id"), "unknown_image", r"image_id: is missing; expected the id of an entry"),
    (
        change(FIRST, "category_id", 1),
        "unknown_category",
        r"\.category_id: no entry of categories has the id 1",
    ),
    (change(FIRST, "iscrowd", 2), "bad_entry", r"annotations\[0\]\.iscrowd: 2 is neither 0 nor 1"),
    (
        change(FIRST, "bbox", [1, 2, 3]),
        "bad_box",
        r"\.bbox: \[1, 2, 3\] is not \[x, y, width, height\] in pix",
    ),
    (change(FIRST, "bbox", ["a", 2, 3, 4]), "bad_box", r'\.bbox: \["a", 2, 3, 4\] is not \[x, y, width'),
    (change(FIRST, "bbox", [1, 2, math.nan, 4]), "bad_box", r"\.bbox: contains nan, which is not finite"),
    (
        both(delete(FIRST, "bbox"), delete(FIRST, "segmentation")),
        "bad_box",
        r"\.bbox: is missing, and there is no mask",
    ),
    (change(FIRST, "bbox", [1, 2, 0, 4]), "empty_box", r"\.bbox: \[1, 2, 0, 4\] has no area; expected a pos"),
    (change(FIRST, "bbox", [9, 2, -3, 4]), "empty_box", r"\.bbox: \[9, 2, -3, 4\] has no area"),
    (change(FIRST, "bbox", [60, 2, 3, 4]), "box_outside", r"\[60, 2, 3, 4\] is outside its image of 60 x 40"),
    (change(FIRST, "segmentation", "x"), "bad_mask", r'\.segmentation: "x" is not a mask; expected polygons'),
    (
        change(FIRST, "segmentation", [[1, 2, 3, 4]]),
        "bad_mask",
        r"\[0\]: a list of 4 numbers is not a polygon",
    ),
    (
        change(FIRST, "segmentation", [[1, 2, 3, 4, 5, 6, 7]]),
        "bad_mask",
        r"\[0\]: a list of 7 numbers is not a polygon",
    ),
    (
        change(FIRST, "segmentation", [[1, 2, 3, math.nan, 5, 6]]),
        "bad_mask",
        r"the polygon is not finite",
    ),
    (
        change(FIRST, "segmentation", [[1, 2, 3, 4, 1e9, 6]]),
        "mask_outside",
        r"the polygon spans 1 to 1e\+09, far outside its image of 60 x 40 px",
    ),
    (
        change(FIRST, "segmentation", [[70, 5, 80, 5, 80, 15]]),
        "mask_outside",
        r"the polygons are outside its image of 60 x 40 px",
    ),
    (
        change(FIRST, "segmentation", [ZIGZAG]),
        "long_outline",
        r"the outline is 12\d{5} px long; expected at most",
    ),
    (
        change(FIRST, "segmentation", RLE | {"size": [60, 40]}),
        "bad_mask",
        r"\.segmentation\.size: \[60, 40\] is not the \[height, width\] of its image, \[40, 60\]",
    ),
    (
        change(FIRST, "segmentation", RLE | {"counts": [9]}),
        "bad_mask",
        r"\.counts: the runs cover 9 px; the i",
    ),
    (
        change(FIRST, "segmentation", RLE | {"counts": [1200, 2400, -1200]}),
        "bad_mask",
        r"\.counts: the runs cover 2400 px",
    ),
    (
        change(FIRST, "segmentation", RLE | {"counts": "zzzz"}),
        "bad_mask",
        r"\.counts: 'z' is not a character of",
    ),
    (
        change(FIRST, "segmentation", RLE | {"counts": "l" * 1_000_000}),  # one run, of a number without end
        "bad_mask",
        r"\.counts: a run is longer than any image",
    ),
    (
        both(delete(FIRST, "bbox"), change(FIRST, "segmentation", RLE)),
        "empty_box",
        r"\.bbox: \[0, 0, 0, 0\] has no area",
    ),
    (
        change(IMAGE, "file_name", "c\n\ud800.png"),
        "missing_image",
        r"images/c \\ud800\.png: no such image",
    ),
    (
        change(FIRST, "segmentation", RLE | {"counts": "PS2P"}),
        "bad_mask",
        r"\.counts: the last run is incomple",
    ),
]


@pytest.mark.parametrize(("corrupt", "kind", "message"), DROPPED)
def test_an_entry_that_cannot_be_used_stops_the_run_or_is_dropped(
    coco_folder, coco_data, corrupt, kind, message
):
    corrupt(coco_data)
    with pytest.raises(InputError, match=message) as caught:
        read(coco_folder, json.loads(json.dumps(coco_data)))
    assert "\n" not in str(caught.value)
    dataset = read(coco_folder, coco_data, drop_invalid=True)
    problems = [problem for problem in dataset.problems if problem.effect == "drop"]
    assert kind in {problem.kind for problem in problems}
    if "annotations" in str(problems[0]):
        assert len(dataset.coco.anns) == len(coco_data["annotations"]) - 1
    else:
        assert len(dataset.coco.imgs) < len(coco_data["images"])
    assert set(dataset.coco.imgToAnns) <= set(dataset.coco.imgs)


def test_an_absolute_path_inside_the_folder_is_read(coco_folder, coco_data):
    coco_data["images"][0]["file_name"] = str(coco_folder / "images" / "a.png")
    dataset = read(coco_folder, coco_data)
    assert kinds(dataset) == ["file_name"]
    assert dataset.coco.imgs[7]["file_name"] == "a.png"


def test_the_error_counts_all_problems(coco_folder, coco_data):
    coco_data["annotations"][0]["bbox"] = [1, 2, 0, 4]
    coco_data["annotations"][1]["image_id"] = 8
    coco_data["annotations"][2]["image_id"] = 8
    with pytest.raises(InputError) as caught:
        read(coco_folder, coco_data)
    path = coco_folder / "data.json"
    assert str(caught.value) == (
        f"{path}: annotations[1].image_id: no entry of images has the id 8; and 2 more problems "
        "(2 kinds in all); "
        f"`mvit-det check {path}` lists them all"
    )


def test_an_image_is_dropped_with_its_annotations(coco_folder, coco_data):
    (coco_folder / "images" / "a.png").unlink()
    dataset = read(coco_folder, coco_data, drop_invalid=True)
    assert kinds(dataset) == ["missing_image"]
    assert list(dataset.coco.imgs) == [3]
    assert dataset.coco.anns == {}


def test_what_reaches_over_the_edge_is_clipped_on_request(coco_folder, coco_data):
    polygon = [[40, 10, 80, 10, 80, 30, 40, 30]]  # the right half is outside
    coco_data["annotations"][0] |= {"bbox": [40, 10, 40, 20], "segmentation": polygon, "area": 800}
    dataset = read(coco_folder, coco_data, drop_invalid=True)
    assert kinds(dataset) == ["box_over_edge", "mask_over_edge"]
    entry = dataset.coco.anns[1]
    assert entry["bbox"] == [40, 10, 20, 20]
    assert entry["area"] == 400
    assert sorted(zip(entry["segmentation"][0][::2], entry["segmentation"][0][1::2], strict=True)) == [
        (40, 10), (40, 30), (60, 10), (60, 30)
    ]  # fmt: skip


def boxes(*values):
    def apply(data):
        data["annotations"] = [
            {"image_id": 7, "category_id": 4, "bbox": value, "iscrowd": 0} for value in values
        ]

    return apply


WHOLE = [
    (lambda d: d.pop("images"), r"images: is missing; a COCO file has the lists images, annotations, categ"),
    (lambda d: d.update(annotations={}), r"annotations: is not a list"),
    (lambda d: d["categories"].clear(), r"categories: is empty; expected at least one entry"),
    (lambda d: d["images"].clear(), r"images: is empty"),
    (lambda d: d.update(categories=["nut"]), r'categories\[0\]: "nut" is not an object with id and name'),
    (
        change(("categories", 1), "id", 90),
        r"categories: the id 90 is repeated, with the names 'nut' and 'bolt'",
    ),
    (
        boxes([0.1, 0.2, 0.5, 0.5], [0, 0, 1, 1]),
        r"bbox: \[0\.1, 0\.2, 0\.5, 0\.5\] and all other boxes are frac",
    ),
    (
        boxes([40, 20, 60, 40], [20, 25, 50, 30], [1, 1, 9, 9]),
        r"annotations\[0\]\.bbox: \[40\.0, 20\.0, 60\.0, 40\.0\] and all other boxes look like \[x1, y1, x2",
    ),
    (
        change(FIRST, "segmentation", [[0.1, 0.1, 0.4, 0.1, 0.4, 0.3]]),
        r"annotations\[0\]\.segmentation: this and all other polygons are fractions",
    ),
    (change(FIRST, "bbox", [10, 5, 30, 15]), r"look like \[x1, y1, x2, y2\]"),  # the corners of its polygon
]


@pytest.mark.parametrize(("corrupt", "message"), WHOLE)
def test_a_data_set_of_which_nothing_can_be_used_is_rejected(coco_folder, coco_data, corrupt, message):
    corrupt(coco_data)
    with pytest.raises(InputError, match=message) as caught:
        read(coco_folder, coco_data, drop_invalid=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        [[0, 0, 60, 40]],
        [[5, 5, 10, 10], [10, 10, 55, 20]],  # the second one reaches over the edge by 5 px
        [[0.5, 0.5, 0.4, 0.4], [5, 5, 20, 20]],  # one tiny box
    ],
)
def test_boxes_in_pixels_are_not_taken_for_another_convention(coco_folder, coco_data, values):
    boxes(*values)(coco_data)
    assert read(coco_folder, coco_data).num_objects == len(values)


def test_files_that_are_not_coco_json_are_rejected(coco_folder):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_dataset(coco_folder / "none.json", coco_folder / "images")
    with pytest.raises(InputError, match=r"data\.json: is not JSON: .* line 1, column 13"):
        read(coco_folder, '{"images": [}')
    with pytest.raises(InputError, match="holds a list; expected an object with images"):
        read(coco_folder, "[]")
    with pytest.raises(InputError, match="is a folder; expected a JSON file"):
        read_dataset(coco_folder, coco_folder / "images")


def test_the_folder_of_the_images_is_checked(coco_folder, coco_data):
    with pytest.raises(InputError, match=r"none: no such folder of images"):
        read_dataset(coco_folder / "data.json", coco_folder / "none")
    assert read_dataset(coco_folder / "data.json", coco_folder).coco.imgs[7]["file_name"] == "images/a.png"
    shutil.copytree(coco_folder / "images", coco_folder / "old")  # so that the names are not unique
    with pytest.raises(
        InputError, match=r"contains none of the images of .* such as a\.png; it is in .*/images"
    ):
        read_dataset(coco_folder / "data.json", coco_folder)
    assert read_dataset(coco_folder / "data.json", None).num_objects == 2


def test_only_images_whose_objects_do_not_fit_are_opened(coco_folder, coco_data):
    coco_data["images"][0]["width"] = 20  # it is 60 px wide
    dataset = read(coco_folder, coco_data)
    assert kinds(dataset) == ["size"]
    assert dataset.coco.imgs[7]["width"] == 60
    (coco_folder / "images" / "b.png").write_bytes(b"not opened")
    assert read(coco_folder, coco_data).num_objects == 2
    Image.new("L", (10, 10)).save(coco_folder / "images" / "a.png")
    with pytest.raises(
        InputError, match=r"a\.png: is 10 x 10 px upright, but the entry .* id 7 says 20 x 40"
    ):
        read(coco_folder, coco_data)


def test_every_kind_has_a_known_effect():
    assert {kind.effect for kind in KINDS.values()} == set(EFFECTS)
