"""The training commands of the two integrations, with options for tiny runs."""

import argparse
import csv
import importlib.util
import json
import logging
import os
import re
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

IS_LONG = os.environ.get("FAULTS") == "long"
only_long = pytest.mark.skipif(not IS_LONG, reason="takes long; FAULTS=long in the environment runs it")
INTEGRATIONS = [
    "torchvision",
    pytest.param(
        "detectron2",
        marks=[
            pytest.mark.detectron2,
            pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="needs Detectron2"),
        ],
    ),
]


class Torchvision:
    """The command ``mvit-det train``.

    Args:
        data: the folder of the data set.
        more: flags in addition to the default ones, which they override.
    """

    settings = "run.json"  # the file that a run writes once it has checked its input
    checkpoints = ("last.ckpt", "best.ckpt")
    may_lose_metrics = False

    def __init__(self, data, more=()):
        self.arguments = ["train", "--data", data, "--variant", "mvitv2_nano", "--size", "64"]
        self.arguments += ["--epochs", "3", "--batch-size", "2", "--workers", "0", "--draw", "0"]
        self.arguments += ["--save-every", "1", *more]

    def prepare(self):
        """Import everything, so that a forked process starts at once."""
        import mvit_det.torchvision.train  # noqa: F401

    def main(self, arguments):
        from mvit_det.cli.main import main

        main(arguments)

    def command(self, out, *more, resume=False):
        return [str(text) for text in (*self.arguments, "--out", out, *more, *["--resume"] * resume)]

    def logs(self, out):
        """Return the rows of the CSV files, and the scalars in the event files, each in order."""
        rows = []
        for path in out.glob("logs/version_*/metrics.csv"):
            with path.open(newline="") as file:
                rows += [tuple(sorted((k, v) for k, v in row.items() if v)) for row in csv.DictReader(file)]
        scalars = [
            (step, value.tag, value.simple_value)
            for step, value in _read_events(out.glob("logs/version_*/events.out.tfevents.*"))
            if value.tag != "hp_metric"
        ]
        return sorted(rows), sorted(scalars)


class Detectron2:
    """The script ``tools/train_net.py``.

    Args:
        data: the folder of the data set.
        more: overrides in addition to the default ones, which they override.
    """

    settings = "config.yaml"
    checkpoints = ("model_final.pth", "model_best.pth")
    may_lose_metrics = True  # Detectron2 writes the metrics of a step after its checkpoint and evaluation
    flags = ("--config-file", "mask_rcnn_mvitv2_nano")

    def __init__(self, data, more=()):
        self.overrides = [
            *(f"data.{name}.json={data}/{name}.json" for name in ("train", "val")),
            *(f"data.{name}.images={data}/images" for name in ("train", "val")),
            "dataloader.train.mapper.augmentations.0.short_edge_length=[64]",
            "dataloader.test.mapper.augmentations.0.short_edge_length=64",
            "dataloader.train.num_workers=0",
            "dataloader.test.num_workers=0",
            "dataloader.train.total_batch_size=2",
            "model.proposal_generator.post_nms_topk=[50,20]",
            "model.roi_heads.box_predictor.test_score_thresh=0.0",
            "train.max_iter=9",
            "train.eval_period=3",
            "train.checkpointer.period=1",
            "train.log_period=1",
            *more,
        ]

    def prepare(self):
        import mvit_det.detectron2.train  # noqa: F401

    def main(self, arguments):
        from mvit_det.detectron2.train import main

        main(arguments)

    def command(self, out, *more, flags=(), resume=False):
        flags = [*self.flags, *flags, *["--resume"] * resume]
        return [*flags, f"train.output_dir={out}", *self.overrides, *more]

    def logs(self, out):
        """Return which metrics are in the JSON file and in the event files, after which steps.

        Their values are medians over the steps since the run was started or resumed.
        """
        lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
        rows = [(line["iteration"], name) for line in lines for name in line if name != "iteration"]
        scalars = [(step, value.tag) for step, value in _read_events(out.glob("events.out.tfevents.*"))]
        return tuple(
            sorted(e for e in entries if not re.search("time|eta", e[1])) for entries in (rows, scalars)
        )


def _read_events(paths):
    for path in paths:
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield event.step, value


def build_parser(description):
    """Return a parser with the arguments of all scripts: the folder to write to, and the integration."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the data and the runs")
    parser.add_argument("--detectron2", action="store_true", help="run tools/train_net.py, not mvit-det")
    return parser


def find_own_lines(text):
    """Return the lines on the terminal with which a command has ended."""
    return [line for line in text.splitlines() if line.startswith(("mvit-det: ", "train_net.py: "))]


def reset_logs():
    """Remove what Detectron2 sets up in the logs of a process, which write to the streams of one test."""
    if "detectron2.utils.logger" in sys.modules:
        sys.modules["detectron2.utils.logger"].setup_logger.cache_clear()
    for name in ("detectron2", "fvcore", "mvit_det"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
