import itertools

import numpy as np
import pytest
import supervision as sv

from mvit_det.torchvision.slicing import detect_in_slices, slice_boxes


@pytest.mark.parametrize(
    ("image_hw", "size", "overlap"),
    [((100, 250), 100, 0.2), ((333, 517), 64, 0.5), ((101, 101), 100, 0.0), ((70, 700), 128, 0.9)],
)
def test_slices_cover_the_image_and_overlap(image_hw, size, overlap):
    boxes = slice_boxes(image_hw, size, overlap)
    assert len(set(boxes)) == len(boxes)
    for low, high, side in ((0, 2, image_hw[1]), (1, 3, image_hw[0])):
        spans = sorted({(box[low], box[high]) for box in boxes})
        assert spans[0][0] == 0
        assert spans[-1][1] == side
        assert all(end - start == min(size, side) for start, end in spans)
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end - start >= overlap * size


def test_an_image_that_is_not_larger_has_one_slice():
    assert slice_boxes((64, 50), 64, 0.2) == [(0, 0, 50, 64)]
    assert slice_boxes((65, 50), 64, 0.2) == [(0, 0, 50, 64), (0, 1, 50, 65)]


def detect_values(slices, class_of=lambda value: value, with_masks=True):
    """A perfect detector of rectangles of one value, in the pixels of slices."""
    for part in slices:
        values = np.unique(part.pixels)[1:]
        masks = part.pixels[:, :, 0] == values[:, None, None]
        boxes = sv.mask_to_xyxy(masks) + np.array([0, 0, 1, 1])
        yield (
            part,
            sv.Detections(
                boxes.astype(np.float32),
                masks if with_masks else None,
                np.array([1 - 0.001 * part.box[0] - 0.0001 * int(value) for value in values], np.float32),
                np.array([class_of(value) for value in values], int),
                data={"class_name": np.array([f"class {class_of(value)}" for value in values])},
            ),
        )


def draw(size_hw, boxes):
    image = np.zeros((*size_hw, 3), np.uint8)
    for value, (left, top, right, bottom) in boxes.items():
        image[top:bottom, left:right] = value
    return image


def detect(image, size=100, overlap=0.3, **options):
    def function(slices):
        return detect_values(slices, **options)

    ((item, detections),) = detect_in_slices(function, [image], lambda image: image, size, overlap)
    assert item is image
    return detections


BOXES = {
    1: (10, 10, 30, 30),  # in one slice
    2: (80, 40, 100, 55),  # whole in two slices
    3: (60, 82, 78, 112),  # cut by the edges of slices
    4: (20, 150, 200, 170),  # wider than the overlap, and cut by three slices
    5: (285, 190, 300, 200),  # at the corner of the image
    6: (120, 60, 131, 149),  # higher than the overlap
}


@pytest.mark.parametrize("with_masks", [True, False])
def test_each_object_is_detected_once_and_whole(with_masks):
    image = draw((200, 300), BOXES)
    detections = detect(image, with_masks=with_masks)
    assert sorted(detections.class_id) == list(BOXES)
    assert (np.diff(detections.confidence) <= 0).all()
    for index, class_id in enumerate(detections.class_id):
        assert tuple(detections.xyxy[index]) == BOXES[class_id]
        assert detections["class_name"][index] == f"class {class_id}"
        if with_masks:
            assert np.array_equal(detections.mask[index], image[:, :, 0] == class_id)


def test_objects_of_one_class_that_touch_remain_apart():
    boxes = {1: (80, 20, 130, 40), 2: (80, 40, 130, 60), 3: (20, 100, 250, 120), 4: (20, 120, 250, 140)}
    detections = detect(draw((200, 300), boxes), class_of=lambda value: 7)
    assert sorted(map(tuple, detections.xyxy)) == sorted(boxes.values())


def test_a_small_object_on_a_large_one_of_its_class_is_kept():
    boxes = {1: (60, 20, 140, 80), 2: (85, 40, 95, 50)}
    detections = detect(draw((200, 300), boxes), class_of=lambda value: 7)
    assert sorted(map(tuple, detections.xyxy)) == sorted(boxes.values())


def test_images_without_objects_and_of_other_sizes():
    images = [
        draw((200, 300), {}),
        draw((50, 60), {3: (5, 6, 20, 30)}),
        draw((120, 90), {4: (0, 90, 90, 120)}),
    ]
    results = list(detect_in_slices(detect_values, images, lambda image: image, 100, 0.2))
    assert [len(detections) for _, detections in results] == [0, 1, 1]
    for image, (item, detections) in zip(images, results, strict=True):
        assert item is image
        assert detections.mask.shape[1:] == image.shape[:2]


def test_a_part_of_an_object_that_another_slice_sees_better_is_removed():
    def only_parts(slices):  # finds nothing in the first slice
        for part, detections in detect_values(slices):
            yield part, detections[:0] if part.box[0] == 0 else detections

    image = draw((100, 170), {1: (60, 40, 85, 60)})
    assert slice_boxes(image.shape[:2], 100, 0.3) == [(0, 0, 100, 100), (70, 0, 170, 100)]
    ((_, detections),) = detect_in_slices(only_parts, [image], lambda image: image, 100, 0.3)
    assert len(detections) == 0
    assert detections.mask.shape == (0, 100, 170)
