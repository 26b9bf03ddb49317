import json

import pytest

from mvit_det.errors import InputError
from mvit_det.runtime.description import Description, read_description, write_description
from tests.runtime.exports import DESCRIPTION


def write(folder, **changes):
    (folder / "detector.json").write_text(json.dumps(DESCRIPTION | changes))


def test_a_description_is_read_as_it_was_written(tmp_path):
    write(tmp_path, comment="not known")
    description = read_description(tmp_path)
    assert description.categories == {7: "nut", 3: "bolt"}
    assert (description.short_side, description.versions["opset"]) == (80, 18)
    (tmp_path / "copy").mkdir()
    write_description(tmp_path / "copy", description)
    assert json.loads((tmp_path / "copy" / "detector.json").read_text()) == DESCRIPTION
    assert read_description(tmp_path / "copy") == description


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "was written by a newer mvit_det; update it: pip install --upgrade"),
        ({"format_version": "1"}, "format_version '1': must be 1"),
        ({"format": "tensorrt"}, "format 'tensorrt': must be one of onnx, openvino, torch, aoti"),
        ({"precision": None}, "precision None: must be one of float32, float16, int8"),
        ({"model": "../model.onnx"}, r"model '\.\./model\.onnx': must be the name of a file"),
        ({"model": ""}, "model '': must be the name of a file"),
        ({"classes": []}, r"classes \[\]: must be a list of objects, each with a name and a unique id"),
        ({"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, r"classes \[.*: must be a list"),
        ({"classes": [{"id": 1}]}, "classes .*: must be a list"),
        ({"has_masks": 1}, "has_masks 1: must be true or false"),
        ({"short_side": 0}, "short_side 0: must be a positive 64-bit integer"),
        ({"short_side": 10**400}, r"short_side 10+\.\.\.0+: must be a positive 64-bit integer"),
        ({"classes": [{"id": 2**63, "name": "a"}]}, "classes .*: must be a list"),
        ({"max_side": True}, "max_side True: must be a positive 64-bit integer"),
        ({"min_score": 1.5}, "min_score 1.5: must be a number from 0 to 1"),
        ({"min_score": float("nan")}, "min_score nan: must be a number"),
        ({"pixel_std": [1, 2]}, r"pixel_std \[1, 2\]: must be three numbers"),
        ({"versions": []}, r"versions \[\]: must be an object"),
        ({"head": 3}, "head 3: must be a string"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(InputError, match=rf"^{tmp_path}/detector\.json: {message}") as error:
        read_description(tmp_path)
    assert "\n" not in str(error.value)


def test_missing_keys_are_named(tmp_path):
    rest = {key: value for key, value in DESCRIPTION.items() if key not in ("model", "max_side")}
    (tmp_path / "detector.json").write_text(json.dumps(rest))
    with pytest.raises(InputError, match=r"detector\.json: model, max_side: missing; export the detector"):
        read_description(tmp_path)


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="no such file; expected the folder that mvit-det export wrote"):
            read_description(folder)
    (tmp_path / "detector.json").write_text('{"format_version": 1,')
    with pytest.raises(InputError, match=r"detector\.json: is not JSON: .* at line 1"):
        read_description(tmp_path)


def test_a_description_with_a_wrong_value_cannot_be_made():
    values = {key: value for key, value in DESCRIPTION.items() if key != "format_version"}
    with pytest.raises(InputError, match="max_detections 0: must be a positive 64-bit integer"):
        Description(**values | {"max_detections": 0})
