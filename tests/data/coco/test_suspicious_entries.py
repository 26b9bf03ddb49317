from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mvit_det.data.dataset import dataset_from

WIDTH, HEIGHT = 200, 100


def problems(boxes, masks=None, crowds=(), drop_invalid=True):
    """Return (kind, position) of the problems of boxes in one image."""
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": int(i in crowds)}
        for i, box in enumerate(boxes)
    ]
    for annotation, mask in zip(annotations, masks or (), strict=False):
        annotation["segmentation"] = mask
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nut"}],
    }
    dataset = dataset_from(data, Path("data.json"), None, drop_invalid=drop_invalid)
    return [(problem.kind, problem.field) for problem in dataset.problems]


def rows(found, kind):
    return [int(field.split("[")[1].split("]")[0]) for each, field in found if each == kind]


INSIDE = [[10, 10, 20, 20], [50, 60, 30, 30], [150, 20, 40, 40], [0, 0, 30, 90]]


@pytest.mark.parametrize("drop_invalid", [False, True])
def test_boxes_that_look_like_corners(drop_invalid):
    corners = [[120, 60, 180, 90], [100, 10, 190, 40]]
    found = problems([*INSIDE, *corners], drop_invalid=drop_invalid)
    assert rows(found, "corner_box") == [4, 5]
    assert rows(found, "box_over_edge") == [4, 5]


@pytest.mark.parametrize(
    "boxes",
    [
        INSIDE,
        [[150, 60, 55, 44]],  # a little over the edge, and no corners
        [[100, 50, 110, 55]],  # as corners it would fit, but it is not far over the edge
        [[150, 60, 120, 90], [160, 10, 90, 20], [100, 50, 190, 90]],  # two of three fit in neither form
    ],
)
def test_boxes_that_are_inexact_are_no_corners(boxes):
    assert rows(problems([*INSIDE, *boxes]), "corner_box") == []


def test_boxes_that_look_like_fractions():
    found = problems([*INSIDE, [0.5, 0.5, 0.25, 0.4], [0, 0, 1, 0.5], [20, 20, 0.5, 30], [0, 0, 1, 1]])
    assert rows(found, "fraction_box") == [4, 5]
    assert rows(found, "tiny_box") == [6]


def rle(x, y, width, height, compressed=True):
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    pixels[y : y + height, x : x + width] = 1
    if compressed:
        mask = coco_mask.encode(pixels)
        return mask | {"counts": mask["counts"].decode()}
    edges = np.flatnonzero(np.diff(pixels.ravel(order="F"), prepend=0, append=0))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(edges, prepend=0, append=pixels.size).tolist()}


@pytest.mark.parametrize("compressed", [True, False])
def test_rle_masks_beside_their_boxes(compressed):
    masks = [rle(100, 10, 20, 20), rle(50, 60, 30, 30), rle(150, 20, 40, 19), rle(0, 0, 30, 90)]
    if not compressed:
        masks = [rle(100, 10, 20, 20, False), rle(50, 60, 30, 30, False), rle(150, 20, 40, 19, False), None]
    found = problems(INSIDE, masks)
    assert rows(found, "mask_beside_box") == [0, 2]  # the third covers 19 of 40 rows
    assert rows(problems(INSIDE, masks, crowds={0}), "mask_beside_box") == [2]


def test_an_rle_without_pixels_is_flat_and_not_beside_its_box():
    found = problems(INSIDE, [{"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}])
    assert rows(found, "flat_mask") == [0]
    assert rows(found, "mask_beside_box") == []


def test_a_class_of_crowds_alone_has_no_objects():
    assert ("unused_category", "categories[0]") in problems(INSIDE, crowds={0, 1, 2, 3})
    assert ("unused_category", "categories[0]") not in problems(INSIDE, crowds={0})
