import numpy as np

from mvit_det.data.coco.index import index_coco
from mvit_det.data.statistics import compute_statistics


def make_coco(sizes, objects, names=("nut", "bolt")):
    """A data set of images with these (width, height), and of these (image, category, box, other fields)."""
    return index_coco(
        {
            "images": [
                {"id": 10 + index, "file_name": f"{index}.png", "width": width, "height": height}
                for index, (width, height) in enumerate(sizes)
            ],
            "annotations": [
                {"id": number, "image_id": 10 + image, "category_id": category, "bbox": box, "iscrowd": 0}
                | {"area": box[2] * box[3]}
                | fields
                for number, (image, category, box, fields) in enumerate(objects, start=1)
            ],
            # Sorted by id, the first name has the id 5.
            "categories": [{"id": 5 + index, "name": name} for index, name in enumerate(names)][::-1],
        }
    )


def test_values_worked_out_by_hand():
    square = [[20, 20, 50, 20, 50, 50, 20, 50]]
    coco = make_coco(
        [(200, 100), (640, 480), (300, 100)],
        [
            (0, 5, [20, 20, 30, 30], {"segmentation": square}),  # small
            (0, 5, [20, 20, 32, 32], {}),  # medium: the limit belongs to it
            (0, 6, [20, 20, 96, 79], {"area": 9215}),  # medium; its lower edge is 1 px from that of the image
            (0, 6, [0, 0, 200, 100], {"iscrowd": 1}),
            (2, 6, [1, 2, 100, 97], {"area": 9216}),  # large; at the left edge
        ],
        names=("nut", "bolt", "washer"),
    )
    statistics = compute_statistics(coco)
    assert statistics.summary() == {
        "images": 3,
        "images_without_objects": 1,
        "image_width": {"min": 200, "median": 300, "max": 640},
        "image_height": {"min": 100, "median": 100, "max": 480},
        "objects": 4,
        "objects_with_masks": 1,
        "objects_at_border": 2,
        "crowds": 1,
        "objects_per_image": {"min": 0, "median": 1, "max": 3},
        "objects_per_size_class": {"small": 1, "medium": 2, "large": 1},
        "sqrt_area": {"min": 30, "median": (32 + 9215**0.5) / 2, "max": 96},
        "classes": [
            {"name": "nut", "objects": 2, "images": 1},
            {"name": "bolt", "objects": 2, "images": 2},
            {"name": "washer", "objects": 0, "images": 0},
        ],
    }
    assert statistics.objects_per_image.tolist() == [3, 0, 1]
    assert statistics.empty_classes == ("washer",)


def test_a_data_set_without_annotations():
    summary = compute_statistics(make_coco([(64, 48)], [])).summary()
    assert summary["objects"] == 0
    assert summary["sqrt_area"] is None
    assert summary["objects_per_size_class"] == {"small": 0, "medium": 0, "large": 0}
    assert summary["objects_per_image"] == {"min": 0, "median": 0, "max": 0}


def test_many_classes_are_counted_like_in_a_loop():
    random = np.random.default_rng(0)
    objects = [
        (int(image), 5 + int(category), [9, 9, 9, 9], {})
        for image, category in zip(random.integers(0, 20, 300), random.integers(0, 50, 300), strict=True)
    ]
    statistics = compute_statistics(make_coco([(64, 64)] * 20, objects, [f"class {i}" for i in range(50)]))
    for index in range(50):
        images = [image for image, category, *_ in objects if category == 5 + index]
        assert statistics.objects_per_class[index] == len(images)
        assert statistics.images_per_class[index] == len(set(images))
