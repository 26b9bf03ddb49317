"""Fixtures of the tests inside Detectron2. Each test module is skipped if Detectron2 is not installed."""

import logging
import random
import sys

import numpy as np
import pytest
import torch

from mvit_det.data.shapes import write_shapes


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Use one thread here and in processes that tests start: small models do not profit from more."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def _seed():
    """Start every test with the same random numbers, whichever tests ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


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
def small(shapes):
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
