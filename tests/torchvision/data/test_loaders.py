import torch

from mvit_det.data.dataset import read_dataset
from mvit_det.torchvision.data.augmentation import to_float
from mvit_det.torchvision.data.loaders import build_train_loader, build_val_loader


def test_every_process_evaluates_the_same_number_of_images(coco_folder):
    data = read_dataset(coco_folder / "data.json", coco_folder / "images")  # two images
    shares = []
    for rank in range(3):
        loader = build_val_loader(data, rank=rank, world_size=3, workers=0)
        shares.append([target["image_id"] for _, targets in loader for target in targets])
    assert shares == [[3], [7], [3]]


def test_training_batches(coco_folder):
    data = read_dataset(coco_folder / "data.json", coco_folder / "images")
    (batch,) = build_train_loader(data, to_float, 2, workers=0)
    images, targets = batch
    assert len(images) == len(targets) == 2
    assert {target["image_id"] for target in targets} == {3, 7}


def add_noise(image, target):
    return image + torch.rand(1), target


def test_augmentation_follows_from_the_position_in_the_run(coco_folder):
    data = read_dataset(coco_folder / "data.json", coco_folder / "images")

    def samples(workers, seed, num_skipped=0):
        loader = build_train_loader(data, add_noise, 1, workers=workers, seed=seed)
        loader.batch_sampler.skip(num_skipped)
        return [images[0].flatten()[0].item() for images, _ in loader]

    first, second = samples(0, 3)
    assert samples(1, 3) == [first, second]
    assert samples(0, 3, num_skipped=1) == [second]
    assert samples(0, 4) != [first, second]
    assert samples(0, 3, num_skipped=2) != [first, second]  # the next epoch
