import logging
import os
import sys
from pathlib import Path

import pytest
import torch

from mvit_det.data.shapes import write_shapes

CONFIGS = Path(__file__).parents[2] / "configs"

# Small models gain nothing from more, and lose much where other processes want the cores.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start


@pytest.fixture(autouse=True)
def _fresh_loggers():
    """Let each run set up its log anew: Detectron2 keeps what the first run set up."""
    yield
    if "detectron2.utils.logger" in sys.modules:
        sys.modules["detectron2.utils.logger"].setup_logger.cache_clear()
        for name in ("detectron2", "fvcore", "mvit_det"):
            logging.getLogger(name).handlers.clear()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder with a small data set of shapes: images, train.json (8 pictures), val.json (4)."""
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, 8, 4)
    return folder


@pytest.fixture(scope="session")
def small(shapes):
    """The arguments of a run of a few seconds: the nano variant on pictures of 64 px."""
    return [
        "--config-file",
        str(CONFIGS / "mask_rcnn_mvitv2_nano.py"),
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
