"""The LightningModule of a detector: training, validation and checkpointing."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from pycocotools.coco import COCO
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from mvit_det.data.average_precision import Metrics, evaluate
from mvit_det.data.results import to_results
from mvit_det.errors import InputError
from mvit_det.heads import HEADS
from mvit_det.torchvision.engine.detector_checkpoint import DetectorConfig
from mvit_det.torchvision.engine.optimizer import build_optimizer
from mvit_det.torchvision.engine.schedule import Schedule
from mvit_det.torchvision.models.transform import MASK_THRESHOLD
from mvit_det.weights.checkpoint import CONFIG_KEY

Batch = tuple[list[Tensor], list[dict[str, Any]]]
BEST_BY = "val/box_AP"  # the metric that selects the best checkpoint


class DetectorModule(L.LightningModule):
    """Trains a detector with torchvision's losses and validates it with COCO's average precision.

    Args:
        config: configuration of the detector, which is stored in checkpoints.
        detector: the model.
        truth: ground truth of the validation images; None without validation.
        schedule: schedule of the run; None without training.
    """

    def __init__(
        self,
        config: DetectorConfig,
        detector: FasterRCNN,
        truth: COCO | None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        detector.transform.mask_threshold = MASK_THRESHOLD
        self.config, self.truth, self.schedule = config, truth, schedule
        self.detector = detector
        self.results: list[dict[str, Any]] = []  # of the last validation, of all processes
        self.process_results: dict[int, list[dict[str, Any]]] = {}  # of this process, by image id
        self.metrics: Metrics = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, targets = batch
        losses = self.detector(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise InputError(self._not_finite_message(losses, targets))
        self.log("train/loss", loss, batch_size=len(images))
        self.log_dict({f"train/{k}": v for k, v in losses.items()}, batch_size=len(images))
        return loss

    def _not_finite_message(self, losses: Mapping[str, Tensor], targets: list[dict[str, Any]]) -> str:
        name, value = next(
            ((k, v) for k, v in losses.items() if not torch.isfinite(v)),
            ("the sum of the losses", torch.tensor(float("inf"))),
        )
        ids = ", ".join(str(target["image_id"]) for target in targets)
        return (
            f"step {self.global_step}: {name} is {value.item()} on the images with the ids {ids}; a lower "
            "learning rate (lr) or a limit on the gradient's norm (clip_norm) may keep it finite"
        )

    def configure_optimizers(self) -> Any:
        assert self.schedule is not None, "training needs a schedule"
        optimizer, scheduler = build_optimizer(self.detector, self.schedule)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_validation_epoch_start(self) -> None:
        self.process_results = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, targets = batch
        predictions = self.detector(images) if images else []  # none if the image cannot be read
        for prediction, target in zip(predictions, targets, strict=True):
            image_id = target["image_id"]
            self.process_results[image_id] = prediction_to_results(prediction, image_id, self.config)

    def on_validation_epoch_end(self) -> None:
        assert self.truth is not None, "validation needs annotations"
        shares: list[Any] = [self.process_results]
        if torch.distributed.is_initialized():
            shares = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, self.process_results)
        merged = {image_id: entries for share in shares for image_id, entries in share.items()}
        self.results = [entry for image_id in sorted(merged) for entry in merged[image_id]]
        if self.trainer.is_global_zero:
            has_masks = HEADS[self.config.head].has_masks and _has_masks(self.truth)
            self.metrics = evaluate(self.truth, self.results, has_masks=has_masks)
        self.metrics = self.trainer.strategy.broadcast(self.metrics)
        for kind, values in self.metrics.items():
            for name in ("AP", "AP50", "AP75"):
                self.log(f"val/{kind}_{name}", values[name] or 0.0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG_KEY] = asdict(self.config)


def _has_masks(truth: COCO) -> bool:
    """Return whether every object has a mask, so that masks can be evaluated."""
    return all(entry.get("segmentation") for entry in truth.anns.values() if not entry["iscrowd"])


def prediction_to_results(
    prediction: Mapping[str, Tensor], image_id: int, config: DetectorConfig
) -> list[dict[str, Any]]:
    """Return a prediction of a torchvision detector for one image as entries of a COCO results file.

    Masks, if the detector predicts them, are bool.
    """
    masks = prediction["masks"][:, 0].cpu().numpy() if "masks" in prediction else None
    return to_results(
        image_id,
        prediction["boxes"].cpu().numpy(),
        prediction["scores"].cpu().numpy(),
        masks,
        config.category_ids(prediction["labels"]),
    )
