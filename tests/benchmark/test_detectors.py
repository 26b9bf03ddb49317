"""The benchmark of detectors: the parts of each detector, the tables and files, and bad flags."""

import json
import subprocess
from pathlib import Path

import pytest

from mvit_det.benchmark import detector_main, torchvision_detectors
from mvit_det.benchmark.breakdown import find_owner
from mvit_det.benchmark.detector_compare import Run
from mvit_det.benchmark.detectors import DETECTORS, build_detector, random_weights
from mvit_det.benchmark.samples import make_samples
from mvit_det.errors import DependencyError, InputError, RunError

GPU_CHECK = Path(__file__).parents[2] / "tools" / "gpu_check.sh"
NANO = ["--variant", "nano", "--device", "cpu", "--size", "64x96", "--repeats", "1"]


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
