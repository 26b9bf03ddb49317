"""The initialization of the heads."""

from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor


def initialize_heads(model: nn.Module) -> None:
    """Initialize the box heads and the mask head of a detector as Detectron2 does.

    The first predictions are then close to 0, whereas torchvision's are random. For the feature pyramid, the
    region proposal network and the convolutions of the heads, both use the same initialization.
    """
    for module in model.modules():
        if isinstance(module, TwoMLPHead | FastRCNNConvFCHead):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_uniform_(layer.weight, a=1)
                    nn.init.zeros_(layer.bias)
        elif isinstance(module, FastRCNNPredictor):
            _initialize_predictor(module.cls_score, std=0.01)
            _initialize_predictor(module.bbox_pred, std=0.001)
        elif isinstance(module, MaskRCNNPredictor):
            nn.init.zeros_(module.conv5_mask.bias)
            _initialize_predictor(module.mask_fcn_logits, std=0.001)


def _initialize_predictor(layer: nn.Linear | nn.Conv2d, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
