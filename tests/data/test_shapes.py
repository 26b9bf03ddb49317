import numpy as np
from PIL import Image

from mvit_det.data.dataset import read_dataset
from mvit_det.data.image_checks import check_images
from mvit_det.data.shapes import draw_image, write_shapes


def test_the_data_set_is_valid_and_reproducible(tmp_path):
    for name in ("one", "two"):
        write_shapes(tmp_path / name, num_train=3, num_val=2, seed=5)
    for split, number in (("train", 3), ("val", 2)):
        first, second = (tmp_path / name / f"{split}.json" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        dataset = read_dataset(first, tmp_path / "one" / "images")
        assert check_images(dataset, lambda items, total: items) is dataset
        assert dataset.problems == ()
        assert len(dataset.coco.imgs) == number
        assert dataset.categories == {1: "circle", 2: "square", 3: "triangle"}
        for entry in dataset.coco.imgs.values():
            images = [Image.open(tmp_path / n / "images" / entry["file_name"]) for n in ("one", "two")]
            assert (np.asarray(images[0]) == np.asarray(images[1])).all()


def test_masks_cover_the_visible_part_of_each_shape():
    random = np.random.default_rng(0)
    for _ in range(20):
        image, objects = draw_image(random)
        masks = np.array([mask for _, mask in objects])
        assert masks.shape[1:] == image.shape[:2]
        assert masks.sum(0).max() == 1  # masks do not overlap
        sides = [(m.any(0).nonzero()[0], m.any(1).nonzero()[0]) for m in masks]
        for columns, rows in sides:
            assert min(np.ptp(columns), np.ptp(rows)) > 8
