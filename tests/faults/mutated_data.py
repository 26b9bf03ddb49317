"""Readers of data sets, results and images, with a strategy of changed files for each."""

import json

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from mvit_det.data.average_precision import evaluate
from mvit_det.data.dataset import read_dataset
from mvit_det.data.folders import open_folder, read_split
from mvit_det.data.image_checks import check_images
from mvit_det.data.images import check_image, read_size
from mvit_det.data.results import read_results
from mvit_det.data.sources import describe
from mvit_det.errors import InputError
from tests.faults.mutations import RLE, TOKENS, check_message, mutated_bytes, mutated_json


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


def use(dataset, folder, drop_invalid):
    """Do with a data set what a run does first."""
    dataset = check_images(dataset, lambda items, total: items, drop_invalid=drop_invalid)
    for image in dataset.coco.imgs.values():
        path = (dataset.images / image["file_name"]).resolve()
        assert path.is_relative_to(folder.resolve()), f"{path} is outside {folder}"
    for line in (describe(dataset), *map(str, dataset.problems)):
        assert line.isprintable(), line
    evaluate(dataset.coco, [], has_masks=dataset.has_masks)
