"""A COCO-format data set of your own. Its JSON file determines the classes and the number of steps."""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.coco_json import JsonEvaluator, count_steps, mask_format, register_json

from .coco import dataloader

data = dict(
    train=dict(json="???", images="???"),
    val=dict(json="???", images="${..train.images}"),
)

dataloader.train.dataset.names = L(register_json)(json="${data.train.json}", images="${data.train.images}")
dataloader.test.dataset.names = L(register_json)(
    json="${data.val.json}", images="${data.val.images}", like="${data.train.json}"
)
dataloader.train.mapper.instance_mask_format = L(mask_format)(json="${data.train.json}")
dataloader.evaluator._target_ = JsonEvaluator


def steps(epochs):
    """Return the number of steps in ``epochs`` epochs, which is computed from the JSON file later."""
    return L(count_steps)(
        json="${data.train.json}",
        epochs=epochs,
        batch_size="${dataloader.train.total_batch_size}",
    )
