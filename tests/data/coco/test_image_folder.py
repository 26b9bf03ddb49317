import unicodedata

import pytest
from PIL import Image

from mvit_det.data.coco.fields import FieldError
from mvit_det.data.coco.image_folder import ImageFolder
from mvit_det.data.dataset import dataset_from
from mvit_det.data.problem_kinds import KINDS

NFC, NFD = (unicodedata.normalize(form, "Bäume/é.png") for form in ("NFC", "NFD"))


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9)).save(path)


@pytest.mark.parametrize("stored", [NFC, NFD])
@pytest.mark.parametrize("stated", [NFC, NFD])
def test_files_and_folders_are_found_in_any_unicode_normalization(tmp_path, stored, stated):
    """macOS writes NFD, and most other systems NFC."""
    write(tmp_path / stored)
    folder, _, name = stored.partition("/")
    assert ImageFolder(tmp_path).find(stated) == stored
    assert ImageFolder(tmp_path).find(f".\\{stated}") == stored
    assert ImageFolder(tmp_path / folder).find(stated) == name  # with the name of the folder in front
    assert ImageFolder(tmp_path / folder).find(str(tmp_path / stated)) == name


@pytest.mark.parametrize(("stored", "stated"), [("a.PNG", "a.png"), ("a.png", "a.PNG")])
def test_the_case_of_the_suffix_may_differ(tmp_path, stored, stated):
    write(tmp_path / stored)
    assert ImageFolder(tmp_path).find(stated) == stored


@pytest.mark.parametrize(("stored", "stated", "num_problems"), [(NFD, NFC, 1), (NFC, NFD, 1), (NFD, NFD, 0)])
def test_another_unicode_normalization_is_a_repair(tmp_path, stored, stated, num_problems):
    write(tmp_path / stored)
    image = {"id": 1, "file_name": stated, "width": 9, "height": 9}
    category = {"id": 1, "name": "tree"}
    data = {"images": [image], "annotations": [], "categories": [category]}
    dataset = dataset_from(data, tmp_path / "a.json", tmp_path)
    assert dataset.coco.imgs[1]["file_name"] == stored
    problems = [problem for problem in dataset.problems if problem.kind == "file_name"]
    assert len(problems) == num_problems
    for problem in problems:
        assert KINDS[problem.kind].effect == "repair"
        assert "is in another Unicode normalization than the name of the image" in problem.message


def test_a_bare_name_is_found_in_a_subfolder_if_it_is_unique(tmp_path):
    for name in ("1/a.png", "2/b.png", "2/c.png", "3/c.png"):
        write(tmp_path / name)
    folder = ImageFolder(tmp_path)
    assert folder.find("a.png") == "1/a.png"
    for name in ("c.png", "1/b.png"):
        with pytest.raises(FieldError, match="no such image"):
            folder.find(name)
