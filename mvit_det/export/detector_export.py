"""Export of a detector to a folder, and the check of the exported model."""

import hashlib
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from torchvision.models.detection import FasterRCNN

from mvit_det import __version__
from mvit_det.data.json_files import write_json
from mvit_det.dependencies import install_command, one_line
from mvit_det.errors import DependencyError, InputError, unknown_name
from mvit_det.export.calibration import calibration_batches
from mvit_det.export.check import ExportCheck, check_export
from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.export.folder import CHECK, check_folder, replaced_folder
from mvit_det.export.formats import FORMATS
from mvit_det.export.images import (
    GENERATED_SIZES,
    find_check_images,
    frames_of_several_sizes,
    generated_frames,
    read_annotations,
)
from mvit_det.export.program import MAX_SIDE
from mvit_det.heads import HEADS
from mvit_det.report.console import print_line, progress_bar
from mvit_det.report.run_folder import find_checkpoint
from mvit_det.runtime import Detector as ExportedDetector
from mvit_det.runtime.description import PRECISIONS, Description, write_description
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig, load_detector
from mvit_det.torchvision.engine.processes import build_console
from mvit_det.torchvision.inference import Detector
from mvit_det.torchvision.models.transform import MASK_THRESHOLD
from mvit_det.weights import local_file
from mvit_det.weights.published import DETECTOR


def export_detector(
    checkpoint: str | Path,
    format: str,
    out: str | Path,
    *,
    images: str | Path | Sequence[str | Path] | None = None,
    json: str | Path | None = None,
    min_score: float = 0.05,
    max_detections: int = 100,
    precision: str = "float32",
    overwrite: bool = False,
) -> ExportCheck:
    """Export a detector, and check that the exported model detects the same objects as the checkpoint.

        >>> check = export_detector("runs/mine/best.ckpt", "onnx", "exported", images="photos")
        >>> check.passed, check.total.share

    The folder ``out`` appears when everything is written: the model, ``detector.json``, which describes it,
    and ``check.json``, the result of the check. It also appears if the check fails.

    Args:
        checkpoint: as for :class:`mvit_det.Detector`.
        format: "onnx", "openvino", "torch" for a program of :func:`torch.export.export`, or "aoti" for a
            package of AOTInductor.
        out: the folder to write.
        images: images for the check, or folders of them. If they have fewer than five sizes, scaled copies
            are added. By default, scenes of shapes in five sizes are generated.
        json: COCO-format annotations of the images in the folder ``images``, for the average precision of
            both. Then only these images are used.
        min_score: the lowest score that a detection of the exported model can have, in 0..1.
        max_detections: the largest number of detections in an image.
        precision: "float32" or, in the formats onnx and openvino, "float16" or "int8". For int8, the ranges
            of the activations are measured on up to 50 of ``images``.
        overwrite: whether to replace an export in ``out``.

    Raises:
        InputError: if an argument or an image cannot be used, in which case nothing is written.
        DependencyError: if a package that the format needs is missing.
        RunError: if the disk is full or cannot be written to.
    """
    out, json = Path(out), None if json is None else Path(json)
    _check_arguments(format, precision, min_score, max_detections)
    if precision == "int8" and images is None:
        raise InputError("precision int8: needs images with the detector's objects, for its calibration")
    check_folder(out, overwrite)
    path = find_checkpoint(local_file(checkpoint, DETECTOR))
    model, config = load_detector(path)
    if config.long_side > MAX_SIDE:
        raise InputError(
            f"{path}: scales images to at most {config.long_side} px; an export takes at most {MAX_SIDE} px"
        )
    console = build_console()
    dataset = None if json is None else read_annotations(json, images, config, path, console)
    paths = find_check_images(images, dataset, console)
    frames = frames_of_several_sizes(paths) if paths else generated_frames()
    with replaced_folder(out, overwrite) as folder:
        print_line(console, f"exporting {path} as {format}")
        exported = FORMATS[format]
        exported.write(
            ExportableDetector(model, min_score, max_detections),
            folder / exported.model,
            precision,
            calibration_batches(paths, config.short_side, config.long_side),
        )
        description = _describe(model, config, path, format, precision, min_score, max_detections)
        write_description(folder, description)
        session = None if exported.open is None else exported.open(folder / exported.model)
        check = check_export(
            Detector(
                path, device="cpu", precision="float32", min_score=min_score, max_detections=max_detections
            ),
            ExportedDetector(folder, device="cpu", min_score=min_score, session=session),
            progress_bar(
                frames, len(paths) or len(GENERATED_SIZES), "comparing with the checkpoint", console
            ),
            dataset,
            min_score=min_score,
            max_detections=max_detections,
            has_masks=description.has_masks,
            precision=precision,
        )
        write_json(folder / CHECK, check.to_json())
        if precision == "int8" and not check.total.num_checkpoint:
            raise InputError("precision int8: the checkpoint detects nothing in the images; choose others")
    console.print(*check.tables(), sep="\n")
    if not check.total.num_checkpoint:
        print_line(console, "the checkpoint detects nothing in these images; check the export on others")
    if precision != "float32" and dataset is None:
        print_line(console, "the average precision was not compared; this needs annotations of the images")
    print_line(console, f"wrote {out}")
    return check


def _describe(
    model: FasterRCNN,
    config: DetectorConfig,
    checkpoint: Path,
    format: str,
    precision: str,
    min_score: float,
    max_detections: int,
) -> Description:
    exported = FORMATS[format]
    return Description(
        format=format,
        precision=precision,
        model=exported.model,
        classes=[{"id": id_, "name": name} for id_, name in config.categories.items()],
        variant=config.variant,
        head=config.head,
        has_masks=HEADS[config.head].has_masks,
        short_side=config.short_side,
        long_side=config.long_side,
        size_multiple=model.transform.size_divisible,
        max_side=MAX_SIDE,
        pixel_mean=[255 * value for value in model.transform.image_mean],
        pixel_std=[255 * value for value in model.transform.image_std],
        min_score=min_score,
        iou_threshold=model.roi_heads.nms_thresh,
        max_detections=max_detections,
        mask_threshold=MASK_THRESHOLD,
        checkpoint={"file": checkpoint.name, "sha256": _sha256(checkpoint)},
        versions={
            "mvit_det": __version__,
            **{name: version(name) for name in ("torch", *exported.modules)},
        },
    )


def _check_arguments(format: str, precision: str, min_score: float, max_detections: int) -> None:
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    precisions = FORMATS[format].precisions
    if precision not in precisions:
        raise InputError(f"precision {precision}: {format} has {', '.join(precisions)}")
    if not 0 <= min_score <= 1:
        raise InputError(f"min_score {min_score:g}: must be from 0 to 1")
    if max_detections < 1:
        raise InputError(f"max_detections {max_detections}: must be at least 1")
    for module in FORMATS[format].modules:
        try:  # before the folder is made: an interrupt during an import ends the process without removing it
            import_module(module)
        except ImportError as error:
            install = install_command(FORMATS[format].extra)
            raise DependencyError(
                f"{format} needs {module}, which cannot be imported ({one_line(error)}): {install}"
            ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
