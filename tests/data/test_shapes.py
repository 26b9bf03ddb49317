import numpy as np
from PIL import Image

from mvit_det.data.annotations import category_names, read_coco
from mvit_det.data.images import check_images
from mvit_det.data.shapes import draw_image, write_shapes


def test_the_folder_is_a_sound_data_set_and_the_seed_gives_it_again(tmp_path):
    for name in ("one", "two"):
        write_shapes(tmp_path / name, num_train=3, num_val=2, seed=5)
    for split, number in (("train", 3), ("val", 2)):
        first, second = (tmp_path / name / f"{split}.json" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        coco = read_coco(first)
        check_images(coco, tmp_path / "one" / "images", lambda items, total: items)
        assert len(coco.imgs) == number
        assert category_names(coco) == {1: "circle", 2: "square", 3: "triangle"}
        for entry in coco.imgs.values():
            pictures = [Image.open(tmp_path / n / "images" / entry["file_name"]) for n in ("one", "two")]
            assert (np.asarray(pictures[0]) == np.asarray(pictures[1])).all()


def test_masks_are_what_is_visible():
    random = np.random.default_rng(0)
    for _ in range(20):
        picture, objects = draw_image(random)
        masks = np.array([mask for _, mask in objects])
        assert masks.shape[1:] == picture.shape[:2]
        assert masks.sum(0).max() == 1  # no pixel is of two objects
        sides = [(m.any(0).nonzero()[0], m.any(1).nonzero()[0]) for m in masks]
        for columns, rows in sides:
            assert min(np.ptp(columns), np.ptp(rows)) > 8
