import pytest

from mvit_det.data.formats import voc
from mvit_det.errors import InputError
from tests.data.formats.files import write_files


def xml(*objects, name="a.jpg", size="<size><width>200</width><height>100</height></size>"):
    """A file with objects (class, xmin, ymin, xmax, ymax), and further elements of the object as a string."""
    texts = []
    for label, *corners, extra in [
        (*each, "") if isinstance(each[-1], (int, float)) else each for each in objects
    ]:
        tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
        texts.append(f"<object><name>{label}</name>{extra}<bndbox>{box}</bndbox></object>")
    return f"<annotation><filename>{name}</filename>{size}{''.join(texts)}</annotation>"


def read(root, split="train"):
    return voc.read(root, voc.recognize(root), split)


CAT = ("cat", 11, 21, 30, 60)
BOX = [10, 20, 20, 40]  # columns 11 to 30 counted from 1 reach from 10 to 30 px

LAYOUTS = {
    "Pascal VOC, CVAT": {
        "Annotations/a.xml": xml(CAT),
        "Annotations/b.xml": xml(CAT),
        "JPEGImages/a.jpg": None,
        "JPEGImages/b.jpg": None,
        "ImageSets/Main/train.txt": "a\n",
        "ImageSets/Main/val.txt": "b\n",
        "ImageSets/Main/trainval.txt": "a\nb\n",
        "ImageSets/Main/cat_train.txt": "a  1\n",
        "SegmentationClass/a.png": None,
    },
    "trainval alone": {
        "Annotations/a.xml": xml(CAT),
        "Annotations/b.xml": xml(CAT),
        "JPEGImages/a.jpg": None,
        "JPEGImages/b.jpg": None,
        "ImageSets/Main/trainval.txt": "a\n",
        "ImageSets/Main/valid.txt": "/home/me/JPEGImages/b.jpg\n",
    },
    "Roboflow": {
        "train/a_jpg.rf.1.jpg": None,
        "train/a_jpg.rf.1.xml": xml(CAT, name="a_jpg.rf.1.jpg"),
        "valid/b_jpg.rf.2.jpg": None,
        "valid/b_jpg.rf.2.xml": xml(CAT, name="b_jpg.rf.2.jpg"),
    },
    "Label Studio": {"Annotations/a.xml": xml(CAT), "images/a.jpg": None},
    "labelImg": {"a.jpg": None, "a.xml": xml(CAT)},
    "renamed images": {"xml/1.xml": xml(CAT, name="C:\\images\\a.JPG"), "images/a.JPG": None},
    "subfolders": {
        "annotations/train/a.xml": xml(CAT),
        "annotations/val/a.xml": xml(CAT),
        "images/train/a.png": None,
        "images/val/a.png": None,
    },
}


@pytest.mark.parametrize("tool", LAYOUTS)
def test_the_layouts_of_other_tools(tmp_path, tool):
    write_files(tmp_path, LAYOUTS[tool])
    splits = voc.recognize(tmp_path)
    num_files = sum(content is not None and "<annotation>" in content for content in LAYOUTS[tool].values())
    assert list(splits) == ["train", "val"][:num_files]
    for split in splits:
        contents = voc.read(tmp_path, splits, split)
        [image] = contents.data["images"]
        assert (contents.images / image["file_name"]).is_file()
        assert split in str(contents.images) or tool != "subfolders"
        assert [annotation["bbox"] for annotation in contents.data["annotations"]] == [BOX]
        assert contents.data["categories"] == [{"id": 1, "name": "cat"}]
        assert contents.problems == []


def test_classes_are_those_of_all_splits(tmp_path):
    files = {
        "train/a.xml": xml(("pear", 1, 1, 2, 2), ("plum", 1, 1, 2, 2)),
        "val/b.xml": xml(("fig", 1, 1, 2, 2)),
    }
    write_files(tmp_path, files | {"train/a.jpg": None, "val/b.jpg": None})
    names = [{"id": 1, "name": "fig"}, {"id": 2, "name": "pear"}, {"id": 3, "name": "plum"}]
    assert read(tmp_path).data["categories"] == names
    assert read(tmp_path, "val").data["categories"] == names
    assert [each["category_id"] for each in read(tmp_path).data["annotations"]] == [2, 3]


def test_coordinates_that_count_from_0_are_used_as_they_are(tmp_path):
    polygon = "<polygon><x1>0.5</x1><y1>5</y1><x2>30</x2><y2>5</y2><x3>30</x3><y3>9</y3></polygon>"
    write_files(
        tmp_path, {"a.jpg": None, "a.xml": xml(("cat", 10, 20, 30.5, 60), ("cat", 0.5, 5, 30, 9, polygon))}
    )
    first, second = read(tmp_path).data["annotations"]
    assert first["bbox"] == [10, 20, 20.5, 40]
    assert "segmentation" not in first
    assert second["segmentation"] == [[0.5, 5, 30, 5, 30, 9]]


def test_difficult_objects_are_crowds_and_polygons_are_shifted(tmp_path):
    polygon = "<polygon><x1>11</x1><y1>21</y1><x2>30</x2><y2>21</y2><x3>30</x3><y3>60</y3></polygon>"
    write_files(tmp_path, {"a.jpg": None, "a.xml": xml((*CAT, f"<difficult>1</difficult>{polygon}"), CAT)})
    source = tmp_path / "a.xml"
    assert read(tmp_path).data["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": BOX,
            "segmentation": [[10, 20, 29, 20, 29, 59]],
            "iscrowd": 1,
            "_source": f"{source}: object 1",
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "bbox": BOX,
            "iscrowd": 0,
            "_source": f"{source}: object 2",
        },
    ]


@pytest.mark.parametrize(
    ("corners", "kind", "boxes"),
    [
        ((30, 21, 11, 60), "empty_box", []),
        ((30, 60, 30, 60), "empty_box", []),  # a click
        ((200, 21, 200, 60), "thin_box", [[199, 20, 1, 40]]),  # the last column
        ((0, 5, 0, 9), "empty_box", []),  # counts from 0, so that its width is 0
    ],
)
def test_boxes_without_area(tmp_path, corners, kind, boxes):
    write_files(tmp_path, {"a.jpg": None, "a.xml": xml(("cat", *corners))})
    contents = read(tmp_path)
    assert [each["bbox"] for each in contents.data["annotations"]] == boxes
    [problem] = contents.problems
    assert problem.kind == kind
    assert str(problem).startswith(f"{tmp_path / 'a.xml'}: object 1.bndbox: xmin {corners[0]}, ymin")


def test_problems_of_files(tmp_path):
    write_files(
        tmp_path,
        {
            "Annotations/a.xml": xml(CAT, size=""),
            "Annotations/b.xml": "<annotation>",
            "Annotations/c.xml": xml(),
            "JPEGImages/a.jpg": None,
            "JPEGImages/b.jpg": None,
            "JPEGImages/c.jpg": None,
            "JPEGImages/d.jpg": None,
        },
    )
    folder = tmp_path / "Annotations"
    contents = read(tmp_path)
    assert contents.data["images"] == [
        {"id": 1, "file_name": "a.jpg", "_source": f"{folder}/a.xml"},
        {"id": 2, "file_name": "c.jpg", "_source": f"{folder}/c.xml", "width": 200, "height": 100},
    ]
    assert {problem.kind: problem.file.name for problem in contents.problems} == {
        "bad_label": "b.xml",
        "image_without_xml": "d.jpg",
    }
    write_files(tmp_path, {"ImageSets/Main/train.txt": "a\ne\n"})
    [problem] = read(tmp_path).problems
    assert str(problem).startswith(f"{tmp_path}/Annotations/e.xml: does not exist")


def test_errors_of_a_whole_set(tmp_path):
    write_files(tmp_path / "a", {"train/a.xml": xml(CAT)})
    with pytest.raises(
        InputError, match=r"a\.xml: its image 'a\.jpg' and those of the other files were not found"
    ):
        read(tmp_path / "a")
    write_files(tmp_path / "b", {"a.xml": xml(), "a.jpg": None})
    with pytest.raises(InputError, match="b: no XML file has an object that can be read: no object"):
        read(tmp_path / "b")


def test_other_xml_files_are_not_recognized(tmp_path):
    write_files(
        tmp_path, {"annotations.xml": "<annotations><version>1.1</version></annotations>", "a.jpg": None}
    )
    assert voc.recognize(tmp_path) is None
    assert voc.explain(tmp_path).startswith("annotations.xml does not have the root element <annotation>")


def test_a_damaged_first_file_does_not_hide_the_others(tmp_path):
    write_files(tmp_path, {"a.xml": "", "a.jpg": None, "b.xml": xml(CAT, name="b.jpg"), "b.jpg": None})
    (tmp_path / "A.xml").mkdir()
    (tmp_path / "c.xml").write_bytes(f'<?xml version="1.0" encoding="UTF-16"?>{xml(CAT)}'.encode("utf-16"))
    write_files(tmp_path, {"c.jpg": None})
    contents = read(tmp_path)
    assert [image["file_name"] for image in contents.data["images"]] == ["b.jpg", "c.jpg"]
    assert [problem.file.name for problem in contents.problems] == ["a.xml"]


def test_an_image_that_a_list_repeats_counts_once(tmp_path):
    write_files(
        tmp_path,
        {"Annotations/a.xml": xml(CAT), "JPEGImages/a.jpg": None, "ImageSets/Main/train.txt": "a\na\n"},
    )
    assert len(read(tmp_path).data["annotations"]) == 1


def test_a_box_without_area_does_not_tell_where_coordinates_start(tmp_path):
    write_files(tmp_path, {"a.xml": xml(CAT, ("cat", 0, 0, 0, 0)), "a.jpg": None})
    assert [entry["bbox"] for entry in read(tmp_path).data["annotations"]] == [BOX]


def test_an_empty_polygon_is_no_mask(tmp_path):
    write_files(tmp_path, {"a.xml": xml((*CAT, "<polygon></polygon>")), "a.jpg": None})
    (entry,) = read(tmp_path).data["annotations"]
    assert entry["bbox"] == BOX
    assert "segmentation" not in entry
