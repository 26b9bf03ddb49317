import pytest
import torch

from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.export.onnx_operators import ONNX_OPERATORS, OPSET
from mvit_det.export.program import export_program
from mvit_det.heads import HEADS
from mvit_det.runtime.onnx_session import OnnxSession
from mvit_det.runtime.openvino_session import OpenvinoSession
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
    """A detector, its program, and the path of the ONNX file."""
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
    return detector, program, path


def check(detector, run):
    for sizes, shape in BATCHES:
        images, image_sizes = random_images(sizes, shape)
        expected = plain_detections(detector, images, image_sizes)
        assert_same_detections(run(images, image_sizes), expected, atol=0.01)


@pytest.mark.slow
def test_one_program_runs_for_batches_of_all_sizes(exported):
    detector, program, _ = exported
    check(detector, program.module())


@pytest.mark.slow
@pytest.mark.parametrize("session_class", [OnnxSession, OpenvinoSession])
def test_the_onnx_file_detects_the_same(exported, session_class):
    detector, _, path = exported
    session = session_class(path, "float32", "cpu", num_threads=1)

    def run(images, image_sizes):
        outputs = session.run(images.numpy(), image_sizes.numpy())
        return {name: torch.from_numpy(values) for name, values in outputs.items()}

    check(detector, run)
