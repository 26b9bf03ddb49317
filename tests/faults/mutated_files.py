"""Reads files that hypothesis has changed at random, and fails at any exception but ``InputError``.

Run in a process of its own, which may take 10 seconds for a file and 1 GiB of memory more than at its start:

    python tests/faults/mutated_files.py KIND COUNT FOLDER

KIND is a key of ``KINDS`` and COUNT the number of files. The files are written to FOLDER, so that the one
that ended the process can be found there.
"""

import argparse
import copy
import json
import pickle
import re
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from mvit_det.data.average_precision import evaluate
from mvit_det.data.dataset import read_dataset
from mvit_det.data.folders import open_folder, read_split
from mvit_det.data.image_checks import check_images
from mvit_det.data.images import check_image, read_size
from mvit_det.data.results import read_results
from mvit_det.data.sources import describe
from mvit_det.errors import InputError
from mvit_det.weights.reading import read_file

MAX_SECONDS = 10  # for one file
MAX_BYTES = 2**30  # of memory in addition to that at the start

ZIGZAG = [value for step in range(3000) for value in (3e4 * (step % 2), step % 40)]
NESTED = json.loads("[" * 200 + "]" * 200)
RLE = {"size": [40, 60], "counts": "PPPh2000"}
HOSTILE = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        7,
        90,
        2**31,
        2**63,
        10**30,
        0.1,
        1e308,
        float("nan"),
        float("inf"),
        -1e30,
    ),
    *("", " ", "0", "1e400", "nan", "\0", "\ud800", "\x1b[31m", "[bold]", "<b>", "$x$", "a" * 300, "\u202e"),
    *("../../etc/passwd", "/etc/passwd", "..", ".", "a.png", "images/a.png", "C:\\a.png", "a\0.png"),
    *([], {}, [[]], [{}], [None], [1, 2, 3, 4], [0, 0, 1e9, 1e9], ["1", "2", "3", "4"], NESTED),
    *([[0, 0, 60, 0, 60, 40]], [ZIGZAG], [[x / 1e4 for x in ZIGZAG]], [[0, 0, 1e308, 0, -1e308, 9]]),
    *(RLE, {"size": [10**5, 10**5], "counts": [10**10]}, {"size": [40, 60], "counts": [2400]}),
    *({"size": [40, 60], "counts": "\x7f" * 99}, {"counts": [1200, 1200]}, {"size": [-1, 2], "counts": "0"}),
]
TOKENS = [
    *(b"0", b"-1", b"1e400", b"nan", b"inf", b"0x10", b"99999999999999999999", b"0.5", b"1.0000001", b"0,5"),
    *(
        b"",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"\x1b[31m",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"a" * 300,
        "\u202e".encode(),
    ),
    *(b"<object>", b"</object>", b"<bndbox>", b"<polygon><x1>1</x1></polygon>", b"&lol;", b"<![CDATA["),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"- ",
        b"*a",
        b"&a",
        b"!!python/object/apply:os.system [id]",
        b"? ",
        b"|",
    ),
    *(b"../../etc/passwd", b"/etc/passwd", b"/dev/zero", b"..", b"images/a.png", b"b.jpg", b"#", b'"', b"'"),
    *(b"path: /", b"train: /dev", b"names: {0: a}", b"nc: 100000", b"kpt_shape: [1, 2]", b"80000000000000"),
]


def coco_data():
    polygon = {"bbox": [10, 5, 20, 10], "segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]], "area": 200}
    rle = {"bbox": [30, 0, 30, 40], "segmentation": {"size": [40, 60], "counts": [1200, 1200]}}
    crowd = {"bbox": [0, 0, 9, 9], "iscrowd": 1}
    ids = [{"id": number, "image_id": 1 + number % 2, "category_id": 3} for number in range(4)]
    return {
        "info": {},
        "images": [
            {"id": 1, "file_name": "a.png", "width": 60, "height": 40},
            {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40},  # upright: 40 x 60
        ],
        "annotations": [ids[0] | polygon, ids[1] | polygon, ids[2] | rle, ids[3] | crowd],
        "categories": [{"id": 3, "name": "nut"}, {"id": 4, "name": "bolt", "supercategory": "none"}],
    }


def write_images(folder):
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    exif = Image.Exif()
    exif[0x112] = 6  # the upright image is 40 px wide
    Image.fromarray(pixels).save(folder / "b.jpg", exif=exif)


@st.composite
def mutated_json(draw, original):
    """Return JSON text in which up to four values have been replaced, removed, repeated, or put in a list."""
    data = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 4))):
        parent, key, node = None, None, data
        while isinstance(node, (list, dict)) and node and (parent is None or draw(st.integers(0, 3))):
            key = draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
            parent, node = node, node[key]
        if parent is None:
            continue
        action = draw(st.sampled_from(("hostile", "hostile", "value", "remove", "wrap", "repeat", "text")))
        if action == "remove":
            del parent[key]
        elif action == "repeat" and isinstance(parent, list):
            parent.extend(copy.deepcopy(node) for _ in range(draw(st.integers(1, 20))))
        elif action == "wrap":
            parent[key] = [node]
        elif action == "text":
            parent[key] = json.dumps(node)
        elif action == "value":
            parent[key] = draw(st.one_of(st.floats(), st.integers(), st.text(max_size=9)))
        else:
            parent[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
    text = json.dumps(data).encode()
    return draw(mutated_bytes(text)) if draw(st.integers(0, 9)) == 0 else text


@st.composite
def mutated_bytes(draw, original, tokens=()):
    """Return bytes of which up to five places have been overwritten, removed, repeated or cut off.

    If there are ``tokens``, most places are words of the text, and tokens replace them.
    """
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 5))):
        words = [match.span() for match in re.finditer(rb"[\w.]+|\W", data)] if tokens else []
        if words and draw(st.integers(0, 4)):
            start, end = draw(st.sampled_from(words))
            data[start:end] = draw(st.sampled_from(tokens))
            continue
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 1, 2, 4, 8, 30))))
        action = draw(st.sampled_from(("overwrite", "overwrite", "remove", "repeat", "cut")))
        if action == "overwrite":
            data[start:end] = draw(st.binary(min_size=end - start, max_size=end - start + 2))
        elif action == "remove":
            del data[start:end]
        elif action == "repeat":
            data[start:end] = data[start:end] * draw(st.integers(2, 50))
        else:
            del data[start:]
    return bytes(data)


class Coco:
    """COCO's format: with images and without, with and without ``drop_invalid``; then an evaluation."""

    def __init__(self, folder):
        self.folder = folder
        write_images(folder / "images")
        self.strategy = mutated_json(coco_data())

    def read(self, content):
        (self.folder / "train.json").write_bytes(content)
        for images in (None, self.folder / "images"):
            for drop_invalid in (False, True):
                try:
                    dataset = read_dataset(self.folder / "train.json", images, drop_invalid=drop_invalid)
                    if images is not None:
                        use(dataset, self.folder, drop_invalid)
                except InputError as error:
                    check_message(error)


class Results:
    """COCO's results format."""

    def __init__(self, folder):
        self.folder = folder
        write_images(folder / "images")
        (folder / "train.json").write_text(json.dumps(coco_data()))
        self.dataset = read_dataset(folder / "train.json", folder / "images")
        entry = {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [10, 5, 20, 10]}
        masks = ([[10, 5, 30, 5, 30, 15, 10, 15]], {"size": [40, 60], "counts": [1200, 1200]}, RLE)
        self.strategy = mutated_json([entry, *(entry | {"segmentation": mask} for mask in masks)])

    def read(self, content):
        (self.folder / "results.json").write_bytes(content)
        try:
            results = read_results(self.folder / "results.json", self.dataset.coco)
        except InputError as error:
            check_message(error)
        else:
            evaluate(self.dataset.coco, results, has_masks=False)


class Folder:
    """A folder of another format, of which one file at a time is changed."""

    files: dict[str, bytes]
    images: str

    def __init__(self, folder):
        self.folder = folder / "set"
        write_images(self.folder / self.images)
        self.strategy = st.sampled_from(sorted(self.files)).flatmap(
            lambda name: st.tuples(st.just(name), mutated_bytes(self.files[name], TOKENS))
        )
        for name, content in self.files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    def read(self, change):
        name, content = change
        (self.folder / name).write_bytes(content)
        try:
            folder = open_folder(self.folder)
            for drop_invalid in (False, True):
                for split in folder.splits:
                    try:
                        use(read_split(folder, split, drop_invalid=drop_invalid), self.folder, drop_invalid)
                    except InputError as error:
                        check_message(error)
        except InputError as error:
            check_message(error)
        finally:
            (self.folder / name).write_bytes(self.files[name])


class Yolo(Folder):
    images = "images"
    files = {
        "data.yaml": b"path: .\ntrain: train.txt\nval: images\nnames:\n  0: nut\n  1: bolt\nnc: 2\n",
        "train.txt": b"./images/a.png\nimages/b.jpg\n",
        "labels/a.txt": b"0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n",
        "labels/b.txt": b"1 0.5 0.5 1 1\r\n0 0.25 0.25 0.1 0.1\r\n",
    }


class Voc(Folder):
    images = "JPEGImages"
    box = b"<bndbox><xmin>1</xmin><ymin>5</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
    files = {
        "Annotations/a.xml": b"<annotation><filename>a.png</filename><size><width>60</width>"
        b"<height>40</height><depth>3</depth></size><object><name>nut</name><difficult>0</difficult>"
        + box
        + b"</object>"
        b"<object><name>bolt</name>" + box + b"<polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>2</y2><x3>5</x3>"
        b"<y3>9</y3></polygon></object></annotation>",
        "Annotations/b.xml": b"<annotation><filename>b.jpg</filename><object><name>nut</name>"
        + box
        + b"</object></annotation>",
        "ImageSets/Main/train.txt": b"a\nb 1\n",
    }


class Images:
    """Image files."""

    def __init__(self, folder):
        self.folder = folder
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
        originals = []
        for suffix, mode in (("png", "RGBA"), ("jpg", "RGB"), ("gif", "P"), ("tif", "RGB"), ("webp", "RGB")):
            path = folder / f"image.{suffix}"
            Image.fromarray(pixels).convert(mode).save(path)
            originals.append(path.read_bytes())
        self.strategy = st.sampled_from(originals).flatmap(mutated_bytes)

    def read(self, content):
        (self.folder / "image").write_bytes(content)
        for read in (read_size, check_image):
            try:
                read(self.folder / "image")
            except InputError as error:
                check_message(error)


class Weights:
    """Weight files: of torch in both formats, of NumPy arrays, and safetensors."""

    def __init__(self, folder):
        self.folder = folder
        weights = {"a.weight": torch.arange(12.0).view(3, 4), "b": torch.ones(5, dtype=torch.int64)}
        arrays = {"model": {name: tensor.numpy() for name, tensor in weights.items()}, "__author__": "x"}
        torch.save({"model": weights, "epoch": 3}, folder / "zip.pth")
        torch.save(weights, folder / "legacy.pth", _use_new_zipfile_serialization=False)
        save_file(weights, folder / "a.safetensors")
        for protocol in (2, 4):
            (folder / f"{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol))
        originals = [path.read_bytes() for path in sorted(folder.iterdir())]
        self.strategy = st.sampled_from(originals).flatmap(mutated_bytes)

    def read(self, content):
        (self.folder / "weights").write_bytes(content)
        try:
            read_file(self.folder / "weights")
        except InputError as error:
            check_message(error)


KINDS = {
    "coco": Coco,
    "results": Results,
    "yolo": Yolo,
    "voc": Voc,
    "images": Images,
    "weights": Weights,
}


def use(dataset, folder, drop_invalid):
    """Do with a data set what a run does first."""
    dataset = check_images(dataset, lambda items, total: items, drop_invalid=drop_invalid)
    for image in dataset.coco.imgs.values():
        path = (dataset.images / image["file_name"]).resolve()
        assert path.is_relative_to(folder.resolve()), f"{path} is outside {folder}"
    for line in (describe(dataset), *map(str, dataset.problems)):
        assert line.isprintable(), line
    evaluate(dataset.coco, [], has_masks=dataset.has_masks)


def check_message(error):
    assert str(error), "an error without a message"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.folder / arguments.kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reader = KINDS[arguments.kind](folder)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MAX_BYTES,) * 2)
    count = 0

    @settings(
        max_examples=arguments.count,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.strategy)
    def read(content):
        nonlocal count
        count += 1
        signal.alarm(MAX_SECONDS)  # ends the process, even in a function written in C
        reader.read(content)
        signal.alarm(0)
        if count % 1000 == 0:
            print(f"{count} files", flush=True)

    read()
    print(f"{arguments.kind}: {count} files in all")


if __name__ == "__main__":
    main()
