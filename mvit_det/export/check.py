"""The check of an export: it detects the same objects as its checkpoint, in images of several sizes."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from rich.table import Table

from mvit_det.data.average_precision import Metrics, evaluate
from mvit_det.data.dataset import Dataset
from mvit_det.data.frames import Frame
from mvit_det.data.results import to_results
from mvit_det.export.agreement import (
    MAX_SCORE_DIFFERENCE,
    MIN_IOU,
    Agreement,
    compare_detections,
    total_agreement,
)
from mvit_det.report.drawing import RgbImage

MIN_SHARE = 0.995  # of the detections, that must match
MAX_AP_LOSS = 1.0  # points of average precision that a float16 or int8 export may lose
MAX_ROWS = 20  # images in the printed table
MAX_UNMATCHED = 100  # detections in the JSON

# Takes an image; returns detections with the fields of mvit_det.runtime.Detections, highest score first.
Detect = Callable[[RgbImage], Any]


@dataclass(frozen=True)
class CheckedImage:
    """An image, its size in pixels, and the agreement on it."""

    name: str
    height: int
    width: int
    agreement: Agreement


@dataclass(frozen=True)
class ExportCheck:
    """The result of :func:`mvit_det.export.export_detector`.

    Attributes:
        images: the agreement on each image.
        average_precision: metrics of the ``"checkpoint"`` and of the ``"export"``, as
            :func:`mvit_det.data.average_precision.evaluate` returns them; empty without annotations.
        precision: the precision of the export.
    """

    images: tuple[CheckedImage, ...]
    average_precision: dict[str, Metrics]
    precision: str = "float32"

    @cached_property
    def total(self) -> Agreement:
        """The agreement on all images."""
        return total_agreement(image.agreement for image in self.images)

    @property
    def passed(self) -> bool:
        """Whether the export is as good as its precision allows.

        In float32, at least 99.5 % of the detections match. In float16 and int8, the average precision is at
        most 1 point below that of the checkpoint, or was not compared.
        """
        if self.precision == "float32":
            return self.total.share >= MIN_SHARE
        return all(before - after <= MAX_AP_LOSS for before, after in self._ap().values())

    @property
    def failure(self) -> str:
        """One line that says what differs most.

        In float32, it names the unmatched detection with the highest score, and is empty if there is none. In
        float16 and int8, it names the average precision that is lower by most, and is empty without any.
        """
        if self.precision != "float32":
            if not self._ap():
                return ""
            kind, (before, after) = max(self._ap().items(), key=lambda item: item[1][0] - item[1][1])
            return (
                f"the average precision of the export ({kind}) is {after:.2f} %, that of the checkpoint "
                f"{before:.2f} %; expected a loss of at most {MAX_AP_LOSS:g} in "
                f"{self.precision}"
            )
        unmatched = [(item.score, str(item), image) for image, item in self._unmatched()]
        if not unmatched:
            return ""
        _, text, image = max(unmatched, key=lambda row: row[:2])
        return (
            f"{_percent(self.total.share)} of the detections of the checkpoint and the export match; "
            f"expected {100 * MIN_SHARE:g} %. In {image.name} ({image.width} x {image.height} px), {text}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``check.json``."""
        return {
            "passed": self.passed,
            "precision": self.precision,
            "min_matched_share": MIN_SHARE if self.precision == "float32" else None,
            "max_average_precision_loss": None if self.precision == "float32" else MAX_AP_LOSS,
            "match": {"min_iou": MIN_IOU, "max_score_difference": MAX_SCORE_DIFFERENCE},
            "total": _to_json(self.total),
            "images": [
                {"name": image.name, "height": image.height, "width": image.width} | _to_json(image.agreement)
                for image in self.images
            ],
            "unmatched": [
                {"image": image.name} | asdict(item) for image, item in self._unmatched()[:MAX_UNMATCHED]
            ],
            "average_precision": self.average_precision,
        }

    def tables(self) -> list[Table]:
        """Return a table of the images that agree least, with the total, and one of the average precision."""
        images = sorted(self.images, key=lambda image: image.agreement.share)[:MAX_ROWS]
        caption = (
            "detections of the checkpoint / the export; ± is the largest difference, of boxes in px and of "
            "masks as 1 - IoU"
        )
        table = Table(caption=caption, show_footer=True)
        table.add_column("image", f"all {len(self.images)} images")
        names = ("px", "detections", "matched", "score ±", "box ±", "mask ±")
        for name, footer in zip(names, ["", *_cells(self.total)], strict=True):
            table.add_column(name, footer, justify="right", no_wrap=True)
        for image in images:
            table.add_row(image.name, f"{image.width} x {image.height}", *_cells(image.agreement))
        if not self.average_precision:
            return [table]
        precision = Table("average precision, %")
        for name in ("checkpoint", "export", "difference"):
            precision.add_column(name, justify="right")
        for kind, (before, after) in self._ap().items():
            precision.add_row(kind, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}")
        return [table, precision]

    def _ap(self) -> dict[str, tuple[float, float]]:
        """Return the average precision of the checkpoint and of the export, of boxes and of masks."""
        pairs = {
            kind: (metrics["AP"], self.average_precision["export"][kind]["AP"])
            for kind, metrics in self.average_precision.get("checkpoint", {}).items()
        }
        return {kind: (a, b) for kind, (a, b) in pairs.items() if a is not None and b is not None}

    def _unmatched(self) -> list[tuple[CheckedImage, Any]]:
        return [(image, item) for image in self.images for item in image.agreement.unmatched]


def check_export(
    checkpoint: Detect,
    export: Detect,
    frames: Iterable[Frame],
    dataset: Dataset | None = None,
    *,
    min_score: float,
    max_detections: int,
    has_masks: bool,
    precision: str = "float32",
) -> ExportCheck:
    """Compare the detections of a checkpoint and of its export.

    Args:
        checkpoint: detects the objects in an image with the checkpoint.
        export: the same with the exported model.
        frames: the images.
        dataset: annotations, for the average precision of the images whose names are among its file names;
            other images, such as scaled copies, do not contribute to it.
        min_score: the lowest score of a detection of both.
        max_detections: the largest number of detections of both in an image.
        has_masks: whether both detect masks.
        precision: the precision of the export.
    """
    ids = {} if dataset is None else {image["file_name"]: id_ for id_, image in dataset.coco.imgs.items()}
    images = []
    results: dict[str, list[dict[str, Any]]] = {"checkpoint": [], "export": []}
    for frame in frames:
        detections = {"checkpoint": checkpoint(frame.image), "export": export(frame.image)}
        agreement = compare_detections(**detections, min_score=min_score, max_detections=max_detections)
        height, width = frame.image.shape[:2]
        images.append(CheckedImage(frame.name, height, width, agreement))
        if frame.name in ids:
            for name, d in detections.items():
                entries = to_results(ids[frame.name], d.xyxy, d.confidence, d.mask, d.class_id.tolist())
                results[name] += entries
    if dataset is None:
        return ExportCheck(tuple(images), {}, precision)
    has_masks = has_masks and dataset.has_masks
    average_precision = {
        name: evaluate(dataset.coco, entries, has_masks=has_masks) for name, entries in results.items()
    }
    return ExportCheck(tuple(images), average_precision, precision)


def _to_json(agreement: Agreement) -> dict[str, Any]:
    values = asdict(agreement) | {"matched_share": agreement.share}
    return {name: value for name, value in values.items() if name != "unmatched"}


def _cells(agreement: Agreement) -> list[str]:
    return [
        f"{agreement.num_checkpoint} / {agreement.num_export}",
        _percent(agreement.share),
        f"{agreement.score_difference:.1e}",
        f"{agreement.box_difference:.3f}",
        f"{agreement.mask_difference:.4f}",
    ]


def _percent(share: float) -> str:
    """Return a share in percent, rounded down, so that 100.00 % means all."""
    return f"{math.floor(10_000 * share) / 100:.2f} %"
