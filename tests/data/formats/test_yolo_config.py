import pytest

from mvit_det.data.formats.yolo_config import find_config, resolve
from mvit_det.errors import InputError


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, dog]\nnc: 2", {0: "cat", 1: "dog"}),
        ("names:\n- no\n- 1.0", {0: "no", 1: "1.0"}),  # not a boolean and a number
        ("names:\n  0: cat\n  3: dog", {0: "cat", 3: "dog"}),
        ("nc: 2", {0: "class0", 1: "class1"}),
    ],
)
def test_names(tmp_path, text, names):
    path = write(tmp_path / "data.yaml", text)
    assert find_config(tmp_path).names == names
    assert find_config(path).path == path


def test_names_of_other_tools(tmp_path):
    write(tmp_path / "train/_darknet.labels", "cat\ndog\n\n")  # Roboflow
    assert find_config(tmp_path).names == {0: "cat", 1: "dog"}
    write(tmp_path / "labels/classes.txt", "pear\r\n")  # labelImg
    assert find_config(tmp_path).names == {0: "pear"}
    write(tmp_path / "hyp.yaml", "lr0: 0.01")
    write(tmp_path / "template.yaml", "{{ name }: [")  # no YAML, and no part of the data set
    assert find_config(tmp_path).names == {0: "pear"}
    write(tmp_path / "twice.yaml", "lr0: 0.01\nlr0: 0.02")  # no part of it either
    write(tmp_path / "dataset.yaml", "names: [plum]")
    assert find_config(tmp_path).names == {0: "plum"}
    assert find_config(tmp_path / "train" / "images") is None


@pytest.mark.parametrize(
    "stated", ["images/train", "../images/train", "./images/train/", "/content/data/images/train"]
)
def test_paths_of_the_machine_of_the_export_are_found(tmp_path, stated):
    folder = tmp_path / "set"
    (folder / "images/train").mkdir(parents=True)
    (tmp_path / "images/train").mkdir(parents=True)  # of another data set
    assert resolve(stated, folder) == folder / "images/train"
    write(
        folder / "data.yaml", f"path: ../datasets/set\ntrain: {stated}\nval:\ntest: images/test\nnames: [cat]"
    )
    assert find_config(folder).images == {"train": (folder / "images/train",)}


def test_another_split_is_not_taken_for_a_missing_one(tmp_path):
    (tmp_path / "images").mkdir()
    path = write(tmp_path / "data.yaml", "train: images\nval: ../valid/images\nnames: [cat]")
    with pytest.raises(InputError, match=f"{path}: val: '../valid/images' does not exist; correct the path"):
        find_config(tmp_path)
    path.write_text(path.read_text() + "\nroboflow:\n  version: 1\n")  # the split is empty
    assert list(find_config(tmp_path).images) == ["train"]


def test_the_stated_root_and_lists_of_folders(tmp_path):
    for name in ("yaml", "data/a", "data/b", "data/c"):
        (tmp_path / name).mkdir(parents=True)
    path = write(tmp_path / "yaml/mine.yaml", "path: ../data\ntrain: [a, b]\nvalid: c\nnames: [cat]")
    images = {split: [each.resolve() for each in paths] for split, paths in find_config(path).images.items()}
    assert images == {"train": [tmp_path / "data/a", tmp_path / "data/b"], "val": [tmp_path / "data/c"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat]\nnc: 2", "nc is 2, but names has 1 class; correct"),
        ("names: []", "names: expected a list"),
        ("names: cat", "names: expected a list"),
        ("names: {cat: 0}", "names: cat: expected the number of a class and its name"),
        ("names: [[cat]]", "names: 0: expected the number of a class and its name"),
        ("names: [cat]\nnc: two", "nc: is not the number of classes; expected a whole number"),
        ("nc:", "names: expected a list"),
        ("nc: " + "9" * 5000, "nc: is not the number of classes"),
        ("names: [cat]\nval: ../valid/images", "val: '../valid/images' does not exist; correct the path"),
        ("names: [cat]\nkpt_shape: [17, 3]", "kpt_shape: labels with keypoints are not supported"),
        ("names: [cat", "is not YAML: .* in line 1"),
        ("names: [cat]\nnc: 1\nnames: [dog]", "line 3: the key 'names' is repeated; keep one of them"),
        ("names:\n  0: cat\n  1: dog\n  0: cow", "line 4: the key '0' is repeated"),
        ("names: [cat]\nroboflow: {license: a, license: b}", "line 2: the key 'license' is repeated"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    path = write(tmp_path / "data.yaml", text)
    with pytest.raises(InputError, match=f"^{path}.*: {message}|^{path}: {message}"):
        find_config(tmp_path)


def test_two_files_and_an_empty_line(tmp_path):
    write(tmp_path / "a.yaml", "names: [cat]")
    write(tmp_path / "b.yaml", "names: [dog]")
    with pytest.raises(InputError, match="a.yaml and b.yaml both name classes; give one"):
        find_config(tmp_path)
    path = write(tmp_path / "c/classes.txt", "cat\n\ndog\n")
    with pytest.raises(InputError, match=f"{path}: line 2: is empty; expected the name of class 1"):
        find_config(tmp_path / "c")
