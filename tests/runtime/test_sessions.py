import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import openvino
import pytest

from mvit_det.errors import DependencyError, InputError
from mvit_det.runtime import Detector
from mvit_det.runtime.description import read_description
from mvit_det.runtime.sessions import open_session
from tests.runtime.exports import write_export


def convert_to_openvino(folder, **changes):
    write_export(folder, **{"format": "openvino", "model": "model.xml"} | changes)
    openvino.save_model(
        openvino.convert_model(folder / "model.onnx"), folder / "model.xml", compress_to_fp16=False
    )
    return folder


def open_(folder, device="cpu"):
    return open_session(folder, read_description(folder), device, num_threads=1)


@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_the_outputs_are_numpy_arrays(exported, tmp_path, format_):
    session = open_(exported if format_ == "onnx" else convert_to_openvino(tmp_path))
    for num_images, width in ((2, 96), (1, 64)):  # of any size
        images = np.zeros((num_images, 3, 64, width), np.float32)
        images[0, :, :50, :60] = 255
        sizes = np.array([[50, 60], [64, 96]][:num_images])
        outputs = session.run(images, sizes)
        assert {name: (values.shape, values.dtype) for name, values in outputs.items()} == {
            "boxes": ((num_images, 5, 4), np.float32),
            "scores": ((num_images, 5), np.float32),
            "labels": ((num_images, 5), np.int64),
            "masks": ((num_images, 5, 2, 2), np.float32),
            "num_detections": ((num_images,), np.int64),
        }
        np.testing.assert_allclose(outputs["scores"][0], [1, 0.9, 0.75, 0.5, 0.4], rtol=1e-5)
        assert outputs["boxes"][0, 0].tolist() == [15, 12.5, 45, 37.5]
        assert outputs["num_detections"].tolist() == [4] * num_images


@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_threads_that_share_a_session_get_their_own_outputs(exported, tmp_path, format_):
    session = open_(exported if format_ == "onnx" else convert_to_openvino(tmp_path))
    sizes = np.array([[64, 64]])

    def run(value):
        outputs = [session.run(np.full((1, 3, 64, 64), value, np.float32), sizes) for _ in range(50)]
        return {round(255 * output["scores"][0, 0].item()) for output in outputs}

    values = range(0, 256, 85)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, values)) == [{value} for value in values]


def test_the_number_of_threads_and_the_precision(exported, tmp_path):
    assert open_(exported)._session.get_session_options().intra_op_num_threads == 1
    model = open_(convert_to_openvino(tmp_path))._model
    assert model.get_property("INFERENCE_NUM_THREADS") == 1
    assert model.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


def test_a_format_of_pytorch_needs_a_session(tmp_path):
    write_export(tmp_path, format="aoti", model="model.pt2")
    with pytest.raises(InputError, match=r"model\.pt2: format 'aoti' needs PyTorch; export .* as onnx or"):
        Detector(tmp_path)


def test_a_missing_model_is_named(tmp_path):
    write_export(tmp_path, model="other.onnx")
    with pytest.raises(InputError, match=r"other\.onnx: no such file; export the detector again"):
        Detector(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "truncated"])
def test_a_damaged_model_is_refused_in_one_line(tmp_path, content):
    path = write_export(tmp_path) / "model.onnx"
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    with pytest.raises(InputError, match=r"model\.onnx: is damaged: onnxruntime cannot open it \(.+\)$"):
        Detector(tmp_path)


def test_a_damaged_openvino_model_is_refused_in_one_line(tmp_path):
    path = convert_to_openvino(tmp_path) / "model.xml"
    path.write_text(path.read_text()[:300])
    with pytest.raises(InputError, match=r"model\.xml: is damaged: openvino cannot open it \(.+\)$"):
        Detector(tmp_path)


def test_a_model_for_a_newer_package_names_the_command(tmp_path):
    command = "pip install --upgrade onnxruntime$"
    write_export(tmp_path, opset=999)
    with pytest.raises(
        DependencyError, match=rf"needs a newer onnxruntime \(.*till opset \d+.*\): {command}"
    ):
        Detector(tmp_path)
    path = write_export(tmp_path) / "model.onnx"
    model = onnx.load(path)
    model.ir_version = 999
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DependencyError, match=rf"\(Unsupported model IR version: 999.*\): {command}"):
        Detector(tmp_path)
    path = convert_to_openvino(tmp_path / "openvino") / "model.xml"
    path.write_text(path.read_text().replace('version="opset1"', 'version="opset999"'))
    with pytest.raises(DependencyError, match=r"needs a newer openvino .*--upgrade openvino$"):
        Detector(tmp_path / "openvino")


@pytest.mark.parametrize(
    ("format_", "package", "extra"),
    [("onnx", "onnxruntime", "runtime"), ("openvino", "openvino", "openvino")],
)
def test_a_missing_package_names_the_command(tmp_path, monkeypatch, format_, package, extra):
    write_export(tmp_path, format=format_)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"mvit_det.runtime.{format_}_session", raising=False)
    with pytest.raises(DependencyError, match=rf"needs {package}, .*: pip install 'mvit_det\[{extra}\]'$"):
        Detector(tmp_path)


def test_a_model_with_other_outputs_is_refused(tmp_path):
    path = write_export(tmp_path, has_masks=False) / "model.onnx"
    Detector(tmp_path)  # masks are not used
    model = onnx.load(path)
    model.graph.output.pop(3)
    write_export(tmp_path)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="and the outputs boxes, labels, num_detections, scores; expected"):
        Detector(tmp_path)


def test_a_gpu_needs_another_package(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="^device 'cuda': needs a GPU and .*: pip install onnxruntime-gpu"):
        open_(exported, "cuda")
    with pytest.raises(InputError, match="^device 'cuda': OpenVINO models run on CPUs"):
        open_(convert_to_openvino(tmp_path), "cuda")
