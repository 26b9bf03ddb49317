import numpy as np
from PIL import Image

from mvit_det.data.dataset import dataset_from, read_dataset
from mvit_det.report.dataset_samples import COLUMNS, GAP, TILE, TITLE, draw_samples

CELL = TILE + GAP


def test_objects_are_drawn_and_other_images_are_left_out(coco_folder):
    Image.new("RGB", (60, 40)).save(coco_folder / "images" / "a.png")
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    assert draw_samples({"train": dataset}, coco_folder / "samples.png") == []
    sheet = np.asarray(Image.open(coco_folder / "samples.png"))
    height = TITLE + round(TILE * 40 / 60) + GAP  # b.png has no objects
    assert sheet.shape == (height, COLUMNS * CELL + GAP, 3)
    scale = TILE / 60
    pixels = sheet[TITLE:, GAP:]
    assert pixels[round(12 * scale), round(20 * scale)].any()  # inside the nut
    assert pixels[round(30 * scale), round(45 * scale)].any()  # inside the bolt, the right half
    assert not pixels[round(30 * scale), round(15 * scale)].any()
    assert (sheet[:, CELL + GAP :] == 255).all()


def test_an_image_that_cannot_be_read_is_replaced(coco_data, coco_folder):
    entry = coco_data["images"][0]
    images = [entry | {"id": index, "file_name": f"{index}.png"} for index in range(24)]
    annotations = [coco_data["annotations"][0] | {"id": index, "image_id": index} for index in range(24)]
    for index in range(24):
        size = (60, 40) if index > 1 else (40, 60)  # not the stated size
        Image.new("RGB", size, (200, 0, 0) if index == 2 else "black").save(coco_folder / f"{index}.png")
    (coco_folder / "7.png").write_bytes(b"damaged")
    dataset = dataset_from(
        coco_data | {"images": images, "annotations": annotations}, coco_folder, coco_folder
    )
    errors = draw_samples({"train": dataset}, coco_folder / "samples.png")
    assert [error.split(": ")[0] for error in errors] == [str(coco_folder / f"{n}.png") for n in (0, 1)]
    sheet = np.asarray(Image.open(coco_folder / "samples.png"))
    # Twelve pairs of images. The first pair cannot be drawn, so that image 2 comes first.
    assert sheet[TITLE + 5, GAP + 5].tolist() == [200, 0, 0]
    cells = sheet[TITLE + 5 :: TITLE + round(TILE * 40 / 60) + GAP, GAP + 5 :: CELL].sum(axis=2) < 600
    assert cells[:3, :4].sum() == 11


def test_several_splits_share_the_sheet(coco_folder):
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    draw_samples({"train": dataset, "val": dataset}, coco_folder / "samples.png")
    height = TITLE + round(TILE * 40 / 60) + GAP
    assert Image.open(coco_folder / "samples.png").height == 2 * height


def test_nothing_to_draw(coco_folder):
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    (coco_folder / "images" / "a.png").write_bytes(b"")
    [error] = draw_samples({"train": dataset}, coco_folder / "samples.png")
    assert error == f"{coco_folder / 'images' / 'a.png'}: is empty; expected an image"
    assert not (coco_folder / "samples.png").exists()
