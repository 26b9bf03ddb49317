"""Readers of weights and of what resumes a run, with a strategy of changed files for each."""

import json
import pickle
import struct
from unittest import mock

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from mvit_det.data.checked_json import write_checked_json
from mvit_det.errors import InputError
from mvit_det.torchvision import build_detector
from mvit_det.torchvision.engine import resume
from mvit_det.torchvision.engine.detector_checkpoint import config_of
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.engine.schedule import Schedule
from mvit_det.weights import identify_checkpoint, read_checkpoint
from tests.faults.mutated_pickles import mutated_legacy, mutated_pickle, mutated_zip, torch_file
from tests.faults.mutations import check_message, mutated_bytes, mutated_json

WEIGHTS = {
    "patch_embed.proj.weight": torch.ones(8, 3, 7, 7),
    "blocks.0.norm1.weight": torch.ones(8),
    "blocks.0.attn.pool_k.weight": torch.arange(72.0).view(8, 1, 3, 3),
    "blocks.0.attn.rel_pos_h": torch.ones(4, 8).half(),
    "blocks.1.attn.proj.weight": torch.ones(16, 16).t(),
    "norm.num_batches_tracked": torch.tensor(3),
}


@st.composite
def mutated_safetensors(draw, original):
    """Return a safetensors file whose JSON header has been changed, with the right length before it."""
    (length,) = struct.unpack("<Q", original[:8])
    header = draw(mutated_json(json.loads(original[8 : 8 + length])))
    header = header.ljust(len(header) + 7 & ~7)
    return struct.pack("<Q", len(header)) + header + original[8 + length :]


class Weights:
    """Weight files: of torch in both formats, of NumPy arrays, and safetensors with a configuration."""

    def __init__(self, folder):
        self.folder = folder
        arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
        pickles = [pickle.dumps({"model": arrays, "__author__": "x"}, protocol) for protocol in (2, 4, 5)]
        content = {"model_state": WEIGHTS, "epoch": 3, "cfg": "a: b"}
        archive, legacy = (torch_file(content, legacy=legacy) for legacy in (False, True))
        tensors = save({name: tensor.contiguous() for name, tensor in WEIGHTS.items()})
        self.strategy = st.one_of(
            mutated_zip(archive),
            mutated_zip(archive),
            mutated_legacy(legacy),
            st.sampled_from(pickles).flatmap(mutated_pickle),
            mutated_safetensors(tensors),
            st.sampled_from([archive, legacy, tensors, *pickles]).flatmap(mutated_bytes),
        )

    def read(self, content):
        path = self.folder / "a.weights"
        path.write_bytes(content)
        try:
            checkpoint = read_checkpoint(path)
            assert str(checkpoint).isprintable()
            for weight in checkpoint.weights.values():
                weight.sum()  # the memory that it refers to exists
        except InputError as error:
            check_message(error)


class Run:
    """``run.json``, with a checksum that is right, and what ``last.ckpt`` contains besides tensors."""

    def __init__(self, folder):
        self.options = TrainOptions(variant="mvitv2_nano", out=folder)
        self.schedule = Schedule(1e-3, 2, 4, 1, (3, 4), "4 steps = 2 epochs of 2; learning rate 0.001")
        self.categories = {1: "nut", 2: "bolt"}
        detector = build_detector("mvitv2_nano", 3, "mask_rcnn")
        self.weights = detector.state_dict()
        config = {"categories": {"1": "nut", "2": "bolt"}, "short_side": 256, "long_side": 512}
        checkpoint = {"mvit_det": config, "state_dict": {}, "global_step": 4, "optimizer_states": []}
        settings = {"options": {"ema": None}, "schedule": {"explanation": self.schedule.explanation}}
        original = {"checkpoint": checkpoint, "settings": settings}
        self.strategy = mutated_json(original)
        assert self.read(json.dumps(original).encode()), "the original cannot be read"

    def read(self, content):
        path = self.options.out / "run.json"
        try:
            data = json.loads(content)
            settings, checkpoint = data["settings"], data["checkpoint"]
            checkpoint["state_dict"] = self.weights
            write_checked_json(path, settings)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            settings, checkpoint = None, {"state_dict": self.weights}
            path.write_bytes(content)
        try:
            with mock.patch.object(resume, "read_last_checkpoint", return_value=checkpoint):
                config = config_of(identify_checkpoint(path, checkpoint), self.categories)
                resume.check_resume(self.options, config, self.schedule, path)
        except InputError as error:
            check_message(error)
            return False
        return True
