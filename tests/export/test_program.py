import onnxruntime
import openvino
import pytest
import torch

from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.export.onnx_operators import ONNX_OPERATORS, OPSET
from mvit_det.export.program import export_program
from mvit_det.heads import HEADS
from tests.export.detectors import (
    SHAPE,
    SIZES,
    assert_same_detections,
    plain_detections,
    random_detector,
    random_images,
)

BATCHES = [(SIZES, SHAPE), ([(24, 200)], (32, 224)), ([(150, 201), (160, 224)], (160, 224))]


@pytest.fixture(scope="module", params=HEADS)
def exported(request, tmp_path_factory):
    """A detector, its program, the path of the ONNX file, and the names of its outputs."""
    detector = random_detector(request.param, convolutions=True)
    model = ExportableDetector(detector)
    program = export_program(model)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    torch.onnx.export(
        program,
        f=path,
        dynamo=True,
        output_names=list(model.output_names),
        custom_translation_table=ONNX_OPERATORS,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    return detector, program, path, model.output_names


def check(detector, run):
    for sizes, shape in BATCHES:
        images, image_sizes = random_images(sizes, shape)
        expected = plain_detections(detector, images, image_sizes)
        assert_same_detections(run(images, image_sizes), expected, atol=0.01)


@pytest.mark.slow
def test_one_program_runs_for_batches_of_all_sizes(exported):
    detector, program, _, _ = exported
    check(detector, program.module())


@pytest.mark.slow
def test_onnxruntime_detects_the_same(exported):
    detector, _, path, names = exported
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)

    def run(images, image_sizes):
        outputs = session.run(names, {"images": images.numpy(), "image_sizes": image_sizes.numpy()})
        return dict(zip(names, map(torch.from_numpy, outputs), strict=True))

    check(detector, run)


@pytest.mark.slow
def test_openvino_detects_the_same(exported):
    detector, _, path, names = exported
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", options)

    def run(images, image_sizes):
        outputs = model({"images": images.numpy(), "image_sizes": image_sizes.numpy()})
        return {name: torch.from_numpy(outputs[name]) for name in names}

    check(detector, run)
