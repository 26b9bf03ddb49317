"""Fixtures of the tests inside Detectron2."""

import logging
import sys

import pytest

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
