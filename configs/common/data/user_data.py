"""Your own data: a folder, or COCO-format files. They determine the classes and the number of steps."""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.evaluator import UserDataEvaluator
from mvit_det.detectron2.data.test_loader import build_test_loader
from mvit_det.detectron2.data.user_data import count_steps, mask_format, register_split

from .coco import dataloader

data = dict(
    root=None,  # a folder in the format of COCO, YOLO or Pascal VOC, with its splits; or else the files below
    train=dict(json=None, images=None),
    val=dict(json=None, images=None),  # without images, those of train; without both, nothing is evaluated
    drop_invalid=False,  # drop entries that cannot be used, instead of stopping
)

dataloader.train.dataset.names = L(register_split)(data="${data}", split="train")
dataloader.train.dataset.filter_empty = False  # images without objects are trained on
dataloader.train.skip_unreadable = "${data.drop_invalid}"
dataloader.test._target_ = build_test_loader
dataloader.test.skip_unreadable = "${data.drop_invalid}"
dataloader.test.dataset.names = L(register_split)(data="${data}", split="val")
dataloader.train.mapper.instance_mask_format = L(mask_format)(data="${data}")
dataloader.evaluator._target_ = UserDataEvaluator


def steps(epochs):
    """Return the number of steps in ``epochs`` epochs, which is computed from the training set later."""
    return L(count_steps)(data="${data}", epochs=epochs, batch_size="${dataloader.train.total_batch_size}")
