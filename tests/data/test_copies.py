from mvit_det.data.coco.index import index_coco
from mvit_det.data.copies import find_copies
from mvit_det.data.dataset import Dataset


def make_dataset(folder, contents):
    """A data set of files with these contents; None is a missing file."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for index, (name, data) in enumerate(contents.items()):
        if data is not None:
            (folder / name).write_bytes(data)
        images.append({"id": index, "file_name": name, "width": 9, "height": 9})
    coco = index_coco({"images": images, "annotations": [], "categories": []})
    return Dataset(folder / "data.json", folder, coco)


def find(splits, compare_all=False):
    problems = find_copies(splits, lambda items, total: items, compare_all=compare_all)
    return {(problem.kind, problem.file, problem.message) for problem in problems}


def test_an_image_under_the_same_path_in_two_splits(tmp_path):
    train = make_dataset(tmp_path, {"a.png": b"a", "b.png": None})
    val = make_dataset(tmp_path, {"./b.png": None, "c.png": b"c"})
    expected = {("shared_image", tmp_path / "b.png", "is in train and in val")}
    assert find({"train": train, "val": val}) == expected
    assert find({"train": train, "val": val}, compare_all=True) == expected


def test_files_of_the_same_name_are_compared(tmp_path):
    train = make_dataset(tmp_path / "train", {"same.png": b"12", "other.png": b"34", "missing.png": None})
    val = make_dataset(tmp_path / "val", {"same.png": b"12", "other.png": b"35", "missing.png": b"56"})
    message = f"is in val and has the same contents as {tmp_path / 'train' / 'same.png'} in train"
    assert find({"train": train, "val": val}) == {("shared_image", tmp_path / "val" / "same.png", message)}


def test_all_files_are_compared_on_request(tmp_path):
    train = make_dataset(tmp_path / "train", {"1.png": b"12", "2.png": b"12", "3.png": b"21", "4.png": b"1"})
    val = make_dataset(tmp_path / "val", {"5.png": b"21"})
    splits = {"train": train, "val": val}
    assert not find(splits)
    first, third = tmp_path / "train" / "1.png", tmp_path / "train" / "3.png"
    assert find(splits, compare_all=True) == {
        ("copied_image", tmp_path / "train" / "2.png", f"has the same contents as {first}"),
        (
            "shared_image",
            tmp_path / "val" / "5.png",
            f"is in val and has the same contents as {third} in train",
        ),
    }
