"""Tests of the benchmark of detectors: inputs, the clock of parts, agreement, rows and files, bad flags."""

import json
import subprocess
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from mvit_det.benchmark import detector_main, torchvision_detectors
from mvit_det.benchmark.agreement import compare_detections
from mvit_det.benchmark.breakdown import PartClock, clocked_parts, find_owner
from mvit_det.benchmark.detector_compare import Run, compare_detectors
from mvit_det.benchmark.detector_output import parts_table
from mvit_det.benchmark.detectors import DETECTORS, build_detector, random_weights
from mvit_det.benchmark.measure import OUT_OF_MEMORY
from mvit_det.benchmark.samples import NUM_OBJECTS, make_samples
from mvit_det.errors import DependencyError, InputError, RunError

GPU_CHECK = Path(__file__).parents[1] / "tools" / "gpu_check.sh"
NANO = ["--variant", "nano", "--device", "cpu", "--size", "64x96", "--repeats", "1"]
PARTS = {"first": ["first.forward"], "second": ["second.forward"]}


class Sleep(torch.autograd.Function):
    """Returns its input; sleeps for ``forward`` and ``backward`` seconds."""

    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.seconds = backward
        time.sleep(forward)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        time.sleep(ctx.seconds)
        return gradient, None, None


class SleepingPart(nn.Module):
    def __init__(self, forward, backward, inner=None):
        super().__init__()
        self.seconds, self.inner = (forward, backward), inner

    def forward(self, x):
        x = Sleep.apply(x, *self.seconds)
        return self.inner(x) if self.inner else x


class FakeDetector:
    """A detector with two parts, the second inside the first."""

    parts = PARTS

    def __init__(self, is_full=False):
        second = SleepingPart(0.02, 0.08)
        self.module = nn.Module()
        self.module.first, self.module.second = SleepingPart(0.06, 0.1, second), second
        self.is_full = is_full

    def detect(self):
        if self.is_full:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.module.first(torch.ones(1))

    def loss(self):
        return self.module.first(torch.ones(1, requires_grad=True)).sum()


def test_objects_are_inside_the_image_and_their_masks_fill_their_boxes():
    first, second = make_samples(2, 60, 100)
    assert not torch.equal(first.pixels, second.pixels)
    assert first.pixels.shape == (3, 60, 100)
    masks = first.masks()
    assert masks.shape == (NUM_OBJECTS, 60, 100)
    assert (first.boxes[:, :2] >= 0).all()
    assert (first.boxes[:, 2:] <= torch.tensor([100, 60])).all()
    for mask, (x1, y1, x2, y2) in zip(masks, first.boxes.tolist(), strict=True):
        rows, columns = torch.where(mask > 0)
        assert abs(rows.min() - y1) < 2
        assert abs(rows.max() + 1 - y2) < 2
        assert abs(columns.min() - x1) < 2
        assert abs(columns.max() + 1 - x2) < 2


def test_an_image_file_is_scaled_to_the_size(tmp_path):
    with pytest.raises(InputError, match="missing.png: cannot be read"):
        make_samples(1, 32, 32, tmp_path / "missing.png")
    Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / "a.png")
    (sample,) = make_samples(1, 32, 48, tmp_path / "a.png")
    assert sample.pixels[:, 5, 7].tolist() == [10, 20, 30]
    assert sample.pixels.shape == (3, 32, 48)


def test_the_clock_divides_the_time_forward_and_backward():
    parts = Run(FakeDetector(), "step", "float32", "cpu").parts()
    expected = {"first": (60, 100), "second": (20, 80)}
    for part, (forward, backward) in expected.items():  # a busy machine sleeps longer, never shorter
        assert parts[part]["forward"] >= forward
        assert parts[part]["backward"] >= backward


def test_the_parts_sum_up_to_the_time_of_the_run_and_are_restored():
    detector, clock = FakeDetector(), PartClock("cpu")
    start = time.perf_counter()
    with clocked_parts(detector.module, PARTS | {"none": ["third.forward", "third"]}, clock), clock.run():
        detector.detect()
    assert sum(clock.forward.values()) <= time.perf_counter() - start
    assert sum(clock.forward.values()) >= 0.08
    assert "forward" not in vars(detector.module.first)


def test_rows_by_hand():
    rows = list(
        compare_detectors({"a": FakeDetector(), "b": FakeDetector(True)}, "inference", "float32", "cpu", 2)
    )
    assert [row["detector"] for row in rows] == ["a", "b"]
    assert rows[0]["ms"]["median"] >= 80
    assert rows[0]["ratio"] == {"q1": 1.0, "median": 1.0, "q3": 1.0}
    assert rows[1]["ms"] == OUT_OF_MEMORY
    assert rows[1]["ratio"] is None


def detections(scores, size=20):
    boxes = torch.tensor([[10.0 * i, 5, 10 * i + 8, 15] for i in range(len(scores))])
    masks = torch.zeros(len(scores), size, 10 * len(scores), dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    classes = torch.zeros(len(scores), dtype=torch.int64)
    return {"boxes": boxes, "scores": torch.tensor(scores), "classes": classes, "masks": masks}


def test_detections_agree_in_any_order():
    a = detections([0.9, 0.8, 0.7])
    b = {name: values.flip(0) for name, values in detections([0.9, 0.8 + 4e-6, 0.7]).items()}
    found = compare_detections([a], [b])
    assert found["agree"]
    assert found["matched"] == found["detections"] == 3
    assert found["score_difference"] == pytest.approx(4e-6, rel=0.1)


@pytest.mark.parametrize("changed", ["scores", "classes", "boxes", "masks", "number"])
def test_detections_that_differ_do_not_agree(changed):
    a, b = detections([0.9, 0.8, 0.7]), detections([0.9, 0.8, 0.7])
    if changed == "number":
        b = {name: values[:2] for name, values in b.items()}
    elif changed == "masks":
        b["masks"][0, 5] = False
    else:
        b[changed][0] += {"scores": 2e-5, "classes": 1, "boxes": 1}[changed]
    found = compare_detections([a], [b])
    assert not found["agree"]
    assert found["matched"] == 2
    assert found["detections"] == 3


def test_no_detections_do_not_agree():
    assert not compare_detections([detections([])], [detections([])])["agree"]


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_every_part_of_a_detector_exists_and_takes_time(name):
    if "detectron2" in name:
        pytest.importorskip("detectron2.modeling", exc_type=ImportError)
    samples = make_samples(1, 64, 96)
    detector = build_detector(name, "mvitv2_nano", random_weights("mvitv2_nano"), samples, "cpu")
    only_in_ours = {"_select_detections"}
    for paths in detector.parts.values():
        for path in paths:
            owner, attribute = find_owner(detector.module, path)
            assert owner is not None or attribute in only_in_ours, path
    step = Run(detector, "step", "float32", "cpu").parts()
    inference = Run(detector, "inference", "float32", "cpu").parts()
    trained = {"backbone", "FPN", "RPN", "RoIAlign", "box head", "mask head"}
    assert all(step[part]["forward"] > 0 and step[part]["backward"] > 0 for part in trained)
    assert all(step[part]["forward"] > 0 for part in ("matching, sampling", "mask targets"))
    assert all(inference[part]["forward"] > 0 for part in trained | {"NMS of boxes", "pasting"})
    assert detector.detections()[0]["masks"].shape == (100, 64, 96)


def test_the_table_of_parts_says_what_its_two_numbers_are():
    step = {"detector": "a", "mode": "step", "parts_ms": {"FPN": {"forward": 7.66, "backward": 8.3}}}
    inference = step | {"mode": "inference"}
    assert parts_table([step]).splitlines()[::2] == [
        "| ms, forward + backward | a         |",
        "| FPN                    | 7.7 + 8.3 |",
    ]
    assert parts_table([inference]).splitlines()[::2] == ["| ms  | a   |", "| FPN | 7.7 |"]


@pytest.mark.slow
def test_files_and_tables(tmp_path, capsys):
    detectors = ["ours-torchvision"]
    if not _lacks_detectron2():
        detectors += ["detectron2-mvit", "ours-detectron2"]
    detector_main.main([*NANO, "--detectors", *detectors, "--out", str(tmp_path)])
    result = json.loads((tmp_path / "detector.json").read_text())
    assert len(result["rows"]) == 2 * len(detectors)
    assert len(result["agreement"]) == len(detectors) - 1
    assert all(found["agree"] for found in result["agreement"])
    out = capsys.readouterr().out
    assert ("Detections are not compared" in out) == (len(detectors) == 1)
    assert "| ours-torchvision" in out
    assert "## step, float32" in out


@pytest.mark.slow
def test_detections_that_differ_are_an_error_after_the_measurements(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(DETECTORS, "torchvision-r50", DETECTORS["ours-torchvision"])
    build = torchvision_detectors.build_ours
    calls = []

    def build_with_other_weights(variant, weights, *args):
        calls.append(variant)
        scale = 1.0 if len(calls) == 1 else 1.1
        return build(variant, {name: tensor * scale for name, tensor in weights.items()}, *args)

    monkeypatch.setattr(torchvision_detectors, "build_ours", build_with_other_weights)
    with pytest.raises(RunError, match="torchvision-r50: detections differ from those of ours-torchvision"):
        detector_main.main(
            [*NANO, "--modes", "inference", "--detectors", "ours-torchvision", "torchvision-r50"]
        )
    out = capsys.readouterr().out
    assert "WRONG: only" in out
    assert "## inference, float32" in out


def _lacks_detectron2():
    try:
        import detectron2.modeling  # noqa: F401
    except ImportError:
        return True
    return False


@pytest.mark.skipif(not _lacks_detectron2(), reason="Detectron2 is installed")
def test_an_error_names_the_missing_package():
    with pytest.raises(DependencyError, match="detectron2-mvit: Detectron2 is not installed"):
        detector_main.main([*NANO, "--detectors", "detectron2-mvit"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--variant", "tt"], "unknown variant 'mvitv2_tt': did you mean 'mvitv2_t'"),
        (["--detectors", "our-torchvision"], "did you mean 'ours-torchvision'"),
        (["--size", "800"], "size '800': expected HxW"),
        (["--modes", "forward"], "unknown mode 'forward'"),
        (["--out", __file__], "cannot create the folder"),
    ],
)
def test_a_bad_value_of_a_flag_is_one_line(flags, message):
    with pytest.raises(InputError) as caught:
        detector_main.main([*NANO, "--detectors", "ours-torchvision", *flags])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_image_is_one_line():
    with pytest.raises(InputError, match="no-such-file.png: cannot be read"):
        detector_main.main(
            [*NANO, "--detectors", "ours-torchvision", "--image", str(Path("no-such-file.png"))]
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected 2 arguments, got 0"),
        (["--cpu", "packages"], "expected 2 arguments, got 1"),
        (["no-such-folder", "out"], "PACKAGES no-such-folder is not a folder"),
        ([".", "file/out"], "OUT file/out cannot be created"),
    ],
)
def test_gpu_check_refuses_bad_arguments_in_one_line(arguments, message, tmp_path):
    (tmp_path / "file").touch()
    ended = subprocess.run([GPU_CHECK, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
