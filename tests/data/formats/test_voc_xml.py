import pytest

from mvit_det.data.formats.voc_xml import read_voc_file

# As labelImg writes it.
LABELIMG = """<annotation verified="yes">
	<folder>images</folder>
	<filename>a.jpg</filename>
	<path>/home/me/images/a.jpg</path>
	<source>
		<database>Unknown</database>
	</source>
	<size>
		<width>200</width>
		<height>100</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>cat</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>1</difficult>
		<bndbox>
			<xmin>11</xmin>
			<ymin>21</ymin>
			<xmax>30</xmax>
			<ymax>60</ymax>
		</bndbox>
	</object>
</annotation>
"""


def read(tmp_path, text):
    path = tmp_path / "a.xml"
    path.write_text(text)
    return read_voc_file(path)


def test_a_file_of_labelimg(tmp_path):
    file = read(tmp_path, LABELIMG)
    assert (file.file_name, file.size, file.problems) == ("a.jpg", (200, 100), ())
    [obj] = file.objects
    assert (obj.field, obj.name, obj.corners, obj.polygons, obj.difficult) == (
        "object 1",
        "cat",
        (11, 21, 30, 60),
        (),
        True,
    )


def test_polygons_and_fractions_and_parts(tmp_path):
    # Roboflow writes xmax before ymin. In the person layout of the challenge, parts of an object have boxes.
    points = "<x1>1.5</x1><y1>2</y1><x2>9</x2><y2>2</y2><x3>9</x3><y3>8</y3>"
    part = "<part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>"
    box = "<bndbox><xmin>1.5</xmin><xmax>9.25</xmax><ymin>2.0</ymin><ymax>8</ymax></bndbox>"
    file = read(
        tmp_path,
        f"<annotation><object><name> cat </name>{part}{box}<polygon>{points}</polygon></object>"
        f"<object><name>dog</name><polygon>{points}</polygon></object></annotation>",
    )
    first, second = file.objects
    assert first.name == "cat"
    assert first.corners == (1.5, 2, 9.25, 8)
    assert first.polygons == ((1.5, 2, 9, 2, 9, 8),)
    assert second.corners == (1.5, 2, 9, 8)  # of its polygon
    assert file.size is None
    assert file.problems == ()


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("<name>cat</name>", "", "bad_label", "object 1: has no name"),
        ("<xmin>11</xmin>", "", "bad_label", "object 1: bndbox.xmin: is missing; expected a number"),
        ("<ymax>60</ymax>", "<ymax>x</ymax>", "bad_label", "object 1: bndbox.ymax: 'x' is not a number"),
        ("<ymax>60</ymax>", "<ymax>inf</ymax>", "bad_label", "object 1: bndbox.ymax: 'inf' is not a number"),
        ("bndbox>", "robndbox>", "bad_label", "object 1: is a rotated box (robndbox), which is not supp"),
        ("bndbox>", "box>", "bad_label", "object 1: has no bndbox; expected xmin"),
        ("</object>", "<polygon><x1>1</x1><y1>2</y1></polygon></object>", "bad_mask", "of at least 3 points"),
    ],
)
def test_a_bad_object_is_named_and_left_out(tmp_path, old, new, kind, message):
    assert old in LABELIMG
    file = read(tmp_path, LABELIMG.replace(old, new))
    assert file.objects == ()
    [problem] = file.problems
    assert problem.kind == kind
    assert str(problem).startswith(f"{tmp_path / 'a.xml'}: object 1: ")
    assert message in str(problem)


@pytest.mark.parametrize("size", ["<width>0</width>", "<width></width>", "<width>wide</width>", ""])
def test_a_missing_size_is_none(tmp_path, size):
    assert read(tmp_path, LABELIMG.replace("<width>200</width>", size)).size is None


BOMB = '<!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]><annotation><filename>&b;</filename></annotation>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "declares entities or external files, which are refused"),
        (EXTERNAL, "declares entities or external files, which are refused"),
        (LABELIMG[:-5], "is not XML"),
        ("", "is not XML"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "is not XML"),
        ("<annotations/>", "expected the root element <annotation>"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, message):
    file = read(tmp_path, text)
    assert file.objects is None
    [problem] = file.problems
    assert str(problem).startswith(f"{tmp_path / 'a.xml'}: ")
    assert message in str(problem)
    assert "\n" not in str(problem)
