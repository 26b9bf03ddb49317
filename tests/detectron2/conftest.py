"""Fixtures of the tests inside Detectron2."""

import logging
import sys

import pytest
import torch

from mvit_det.data.shapes import write_shapes


@pytest.fixture(autouse=True)
def _reset_loggers():
    """Undo Detectron2's setup of the loggers after each test."""
    yield
    if "detectron2.utils.logger" in sys.modules:
        sys.modules["detectron2.utils.logger"].setup_logger.cache_clear()
        for name in ("detectron2", "fvcore", "mvit_det"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True


@pytest.fixture
def perfect_detector():
    """A detector that finds the two objects of ``coco_folder``."""
    structures = pytest.importorskip("detectron2.structures")

    class PerfectDetector(torch.nn.Module):
        def forward(self, inputs):
            objects = structures.Instances((40, 60), scores=torch.tensor([0.9, 0.8]))
            objects.pred_classes = torch.tensor([1, 0])
            objects.pred_boxes = structures.Boxes(torch.tensor([[10.0, 5, 30, 15], [30, 0, 60, 40]]))
            return [{"instances": objects[: 2 if sample["image_id"] == 7 else 0]} for sample in inputs]

    return PerfectDetector()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder with a small data set of shapes: images, train.json (8 images), val.json (4)."""
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, 8, 4)
    return folder


@pytest.fixture(scope="session")
def nano_arguments(shapes):
    """The arguments of a run that takes seconds: the nano variant on images of 64 px."""
    return [
        "--config-file",
        "mask_rcnn_mvitv2_nano",
        f"data.train.json={shapes}/train.json",
        f"data.train.images={shapes}/images",
        f"data.val.json={shapes}/val.json",
        "dataloader.train.mapper.augmentations.0.short_edge_length=[64]",
        "dataloader.test.mapper.augmentations.0.short_edge_length=64",
        "dataloader.train.num_workers=0",
        "model.proposal_generator.post_nms_topk=[50,20]",
        "train.eval_period=0",
        "train.checkpointer.period=1000",
    ]


@pytest.fixture(scope="session")
def weights_override(nano_arguments, tmp_path_factory):
    """The override that names a file with random weights of the model of ``nano_arguments``."""
    lazy_config = pytest.importorskip("mvit_det.detectron2.lazy_config")
    torch.manual_seed(0)
    model = lazy_config.build(lazy_config.load_config(nano_arguments[1], nano_arguments[2:]).model)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({"model": model.state_dict()}, path)
    return f"train.init_checkpoint={path}"
