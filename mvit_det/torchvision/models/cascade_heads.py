"""The heads of Cascade Mask R-CNN."""

from torch import nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads

from mvit_det.torchvision.models.roi_heads import DetectionHeads, Stage

IOU_THRESHOLDS = (0.5, 0.6, 0.7)
BOX_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))


class CascadeHeads(DetectionHeads):
    """Three box heads in a row, each on the boxes that the one before has refined, and one mask head.

    Boxes are class-agnostic; at inference the scores are averaged over the stages. Pooling,
    sampling, thresholds and the mask head are those of ``plain``, which this takes the place of.
    Source: Cascade R-CNN, arXiv 1906.09756.
    """

    def __init__(self, plain: RoIHeads, channels: int, num_classes: int) -> None:
        super().__init__(plain)
        self.box_head = nn.ModuleList(_box_head(channels) for _ in IOU_THRESHOLDS)
        self.box_predictor = nn.ModuleList(
            box_predictor(4 * channels, num_classes, 1) for _ in IOU_THRESHOLDS
        )
        self.box_coders = [BoxCoder(weights) for weights in BOX_WEIGHTS]
        self.matchers = [Matcher(iou, iou) for iou in IOU_THRESHOLDS]

    @property
    def stages(self) -> list[Stage]:
        parts = zip(self.box_head, self.box_predictor, self.box_coders, self.matchers, strict=True)
        return [Stage(*part) for part in parts]


def _box_head(channels: int) -> nn.Module:
    return FastRCNNConvFCHead((channels, 7, 7), [channels] * 4, [4 * channels], norm_layer=nn.BatchNorm2d)


def box_predictor(channels: int, num_classes: int, num_boxes: int) -> FastRCNNPredictor:
    """Return a layer for the logits of all classes, the background included, and one for the boxes."""
    predictor = FastRCNNPredictor(channels, num_classes)
    predictor.bbox_pred = nn.Linear(channels, 4 * num_boxes)
    return predictor
