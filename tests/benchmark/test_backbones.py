"""Tests of the benchmark: values worked out by hand, its rows and files, another checkout, bad flags."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mvit_det.backbone.mvit import build_mvit
from mvit_det.benchmark import machine
from mvit_det.benchmark.compare import compare, count_gflop, quartiles
from mvit_det.benchmark.main import main
from mvit_det.benchmark.measure import OUT_OF_MEMORY, Case, LocalModel
from mvit_det.benchmark.opponents import PACKAGE_MODELS, open_opponent
from mvit_det.benchmark.output import header, table_line
from mvit_det.errors import DependencyError, InputError

ROOT = Path(__file__).parents[2]
STEP = Case("step", "float32", "cpu", batch=1, height=4, width=4)
NANO = ["--variants", "nano", "--device", "cpu", "--repeats", "1"]


@pytest.fixture(autouse=True)
def _small_rates(monkeypatch):
    monkeypatch.setattr(machine, "MATRIX_SIZE", {"cpu": 64, "cuda": 64})
    monkeypatch.setattr(machine, "COPY_BYTES", 1000)


def test_quartiles_by_hand():
    assert quartiles([4.0, 1.0, 2.0, 3.0]) == {"q1": 1.75, "median": 2.5, "q3": 3.25}
    assert quartiles([5.0]) == {"q1": 5.0, "median": 5.0, "q3": 5.0}


def test_saved_bytes_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sigmoid(), nn.Conv2d(2, 1, 1))
    # Autograd saves the images, 3 x 4 x 4 floats, and the output of the sigmoid, 2 x 4 x 4, for two layers.
    assert LocalModel(model).measure("saved_bytes", STEP) == 4 * (48 + 32)


def test_saved_bytes_of_recomputed_blocks_are_their_inputs():
    torch.manual_seed(0)
    model = build_mvit("mvitv2_nano", recompute="block")
    shapes = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    saved = LocalModel(model).measure("saved_bytes", STEP._replace(height=64, width=64))
    inputs = 4 * sum(shape.numel() for shape in shapes)
    images, last = 4 * 3 * 64 * 64, 4 * 256 * 2 * 2
    norms = 2 * 4 * (256 + 64 + 16 + 4)  # mean and deviation of each token of the four feature maps
    assert saved == images + inputs + last + norms


def test_gflop_grow_with_the_image_and_exceed_those_of_the_patch_embedding():
    small, large = (count_gflop("mvitv2_nano", side, side) for side in (64, 128))
    assert 2e-9 * 16 * 16 * 32 * 3 * 7 * 7 < small < large


@pytest.mark.slow
def test_rows_files_and_table(tmp_path, capsys):
    against = ["ours:recompute=block", "ours:attention=tiled,recompute=cheap"]
    main([*NANO, "--against", *against, "--sizes", "64x64", "32x65", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["machine"]["matrix_gflop_per_s"]["float32"] > 0
    assert len(result["rows"]) == 2 * 2 * 2
    assert (tmp_path / "benchmark.png").stat().st_size > 1000
    for row in result["rows"]:
        ratio = row["theirs_ms"]["median"] / row["ours_ms"]["median"]
        assert row["ratio"]["median"] == pytest.approx(ratio)  # there is one repeat
        assert row["ours_peak_mb"] is None
        is_step = row["mode"] == "step"
        assert (row["ours_saved_mb"] is not None) == is_step
        if is_step:
            assert row["theirs_saved_mb"] < row["ours_saved_mb"]
    lines = capsys.readouterr().out.splitlines()
    expected = [*header(result["machine"], result["settings"]).splitlines(), *map(table_line, result["rows"])]
    assert lines == expected


def test_header():
    info = {"cpu": "Some CPU", "cores": 2, "threads": 1, "torch": "2.11.0", "gpu": None}
    info |= {"float32_matmul_precision": "highest", "copy_gb_per_s": 27.4}
    info |= {"matrix_gflop_per_s": {"float32": 355.2, "bf16": 120.0}}
    lines = header(info, {"device": "cpu", "repeats": 7, "keep_freed_memory": True}).splitlines()
    assert lines[:3] == [
        "Some CPU, cores 2, threads 1; torch 2.11.0, float32 matmul precision highest",
        "matrix rate float32 355 GFLOP/s, bf16 120 GFLOP/s; copy 27 GB/s",
        "on cpu, repeats 7 after 2 warm-ups, freed memory kept",
    ]
    assert lines[3].split()[:3] == ["variant", "against", "mode"]


@pytest.mark.parametrize("name", ["detectron2-mvit", "swin-t", "resnet-50"])
def test_opponents_return_four_maps_of_the_same_sizes(name):
    module = PACKAGE_MODELS[name].module
    pytest.importorskip(module, reason=f"{module} is not installed", exc_type=ImportError)
    ours = build_mvit("mvitv2_nano").eval()
    images = torch.randn(1, 3, 64, 96)
    with open_opponent(name, "mvitv2_nano", ours) as theirs, torch.no_grad():
        theirs.module.eval()
        maps, expected = theirs.call(images), ours(images)
    maps = list(maps.values()) if isinstance(maps, dict) else maps
    shapes = [tuple(each.shape) for each in maps]
    if name == "detectron2-mvit":
        for each, other in zip(maps, expected.values(), strict=True):
            torch.testing.assert_close(each, other, rtol=1e-3, atol=1e-4)
    assert len(maps) == 4
    assert all({16 >> i, 24 >> i} <= set(shape) for i, shape in enumerate(shapes))


@pytest.mark.slow
@pytest.mark.parametrize("keywords", ["", ",recompute=block,attention=tiled"])
def test_another_checkout_gets_the_same_weights_and_images(keywords):
    torch.manual_seed(0)
    ours = build_mvit("mvitv2_nano", drop_path_rate=0.0, recompute="block" if keywords else "none")
    case = STEP._replace(height=64, width=96)
    with open_opponent(f"checkout:{ROOT}{keywords}", "mvitv2_nano", ours) as theirs:
        row = compare(LocalModel(ours), theirs, case, repeats=2)
    assert 0 < row["ratio"]["q1"] <= row["ratio"]["median"] <= row["ratio"]["q3"]
    assert row["theirs_loss"] == pytest.approx(row["ours_loss"], rel=1e-5)
    assert row["theirs_saved_mb"] == row["ours_saved_mb"] > 0


FAKE_PACKAGE = """
import torch

class Model(torch.nn.Conv2d):
    def forward(self, images):
        if images.shape[3] > 4:
            raise ValueError("too wide")
        return torch.tensor([float(torch.get_num_threads())])

def build_mvit(variant, **keywords):
    return Model(3, 1, 1)
"""


def test_another_checkout_has_as_many_threads_and_reports_errors(tmp_path):
    (tmp_path / "mvit_det").mkdir()
    (tmp_path / "mvit_det" / "__init__.py").write_text(FAKE_PACKAGE)
    with open_opponent(f"checkout:{tmp_path}", "mvitv2_t", nn.Conv2d(3, 1, 1)) as theirs:
        assert theirs.measure("loss", STEP) == torch.get_num_threads() ** 2
        with pytest.raises(InputError, match=f"^checkout {tmp_path}: ValueError: too wide$"):
            theirs.measure("seconds", STEP._replace(width=5))


def test_an_error_names_the_checkout_whose_process_ends(tmp_path):
    (tmp_path / "mvit_det").mkdir()
    (tmp_path / "mvit_det" / "__init__.py").write_text("import os; os._exit(3)")
    with (
        pytest.raises(InputError, match=f"^checkout {tmp_path}: its process ended with status 3$"),
        open_opponent(f"checkout:{tmp_path}", "mvitv2_t", nn.Conv2d(3, 1, 1)),
    ):
        pass


@pytest.mark.slow
def test_timm_runs_at_its_own_size(capsys):
    pytest.importorskip("timm", reason="timm is not installed")
    flags = ["--device", "cpu", "--repeats", "1", "--modes", "forward", "--sizes", "300x350", "300x351"]
    main([*flags, "--against", "timm-mvitv2"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "timm-mvitv2" in line)
    assert "224x224   2 " in line


def test_one_model_is_measured_if_the_other_runs_out_of_memory():
    def run_out_of_memory(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = nn.Conv2d(3, 1, 1)
    row = compare(LocalModel(model), LocalModel(model, run_out_of_memory), STEP, 3)
    assert row["ours_ms"]["median"] > 0
    assert row["theirs_ms"] == row["theirs_saved_mb"] == OUT_OF_MEMORY
    assert row["ratio"] is None
    row |= {"variant": "v", "against": "a", "mode": "step", "size_hw": [4, 4], "batch": 1}
    row |= {"dtype": "float32", "gflop": 1.0, "ours_share": 0.5, "theirs_share": None}
    assert OUT_OF_MEMORY in table_line(row)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--variants", "tt"], "unknown variant 'mvitv2_tt': did you mean 'mvitv2_t'"),
        (["--against", "swin"], "unknown name in --against 'swin': did you mean 'swin-t'"),
        (["--against", "ours:recompute"], "'recompute' should be KEYWORD=VALUE"),
        (["--against", "ours:recomputed=block"], "did you mean 'recompute'"),
        (["--against", "ours:recompute=blok"], "did you mean 'block'"),
        (["--against", "checkout:no-such-folder"], "no-such-folder: has no mvit_det/__init__.py"),
        (["--against", f"checkout:{ROOT},recompute"], "'recompute' should be KEYWORD=VALUE"),
        (["--against", f"checkout:{ROOT},recompute=blok"], "did you mean 'block'"),
        (["--sizes", "800"], "size '800': expected HxW"),
        (["--sizes", "800x16"], "size '800x16': expected HxW"),
        (["--dtypes", "fp16"], "dtype 'fp16': runs on cuda only"),
        (["--modes", "backward"], "unknown mode 'backward'"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--batch", "0"], "--batch 0: must be at least 1"),
        (["--out", __file__], "cannot create the folder"),
    ],
)
def test_a_bad_value_of_a_flag_is_one_line(flags, message):
    with pytest.raises(InputError) as caught:
        main([*NANO, "--against", "ours:recompute=cheap", *flags])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_names_the_missing_package(monkeypatch):
    missing = replace(PACKAGE_MODELS["timm-mvitv2"], module="no_such_package.timm")
    monkeypatch.setitem(PACKAGE_MODELS, "timm-mvitv2", missing)
    with pytest.raises(DependencyError, match="timm-mvitv2: .*pip install no_such_package"):
        main(["--device", "cpu", "--against", "timm-mvitv2"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_input_error():
    with pytest.raises(InputError, match="device 'cuda': torch finds no GPU"):
        main(["--device", "cuda"])
