"""Inference with a Detectron2 model in half precision, whose boxes and masks are computed in float32."""

from typing import Any

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, KRCNNConvDeconvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from omegaconf import DictConfig
from torch import Tensor, nn

from mvit_det.engine.precision import autocast_dtype


def with_precision(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """Return a detector that computes in half precision, or the detector itself if ``dtype`` is None."""
    return model if dtype is None else HalfPrecision(model, dtype)


def evaluation_dtype(cfg: DictConfig) -> torch.dtype | None:
    """Return the dtype of autocast that ``train.eval_precision`` names, or None for float32.

    Raises:
        InputError: see :func:`autocast_dtype`.
    """
    settings = cfg.train
    return autocast_dtype(settings.eval_precision, torch.device(settings.device), "train.eval_precision")


class HalfPrecision(nn.Module):
    """A detector under autocast; called like the detector itself.

    Under autocast, Detectron2 rounds the boxes whose features it pools, the scores, and the coordinates at
    which it pastes masks to half precision. This class casts what the predictors return, and the features
    that are pooled, to float32, so that everything that is computed from them stays in float32.

    Args:
        model: the detector. Its modules keep the hooks that are registered here.
        dtype: ``torch.bfloat16`` or ``torch.float16``.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.device_type = next(model.parameters()).device.type
        for module in model.modules():
            if isinstance(module, ROIPooler):
                module.register_forward_pre_hook(_cast_features)
            elif isinstance(module, StandardRPNHead | FastRCNNOutputLayers):
                module.register_forward_hook(_cast_output)
            elif isinstance(module, MaskRCNNConvUpsampleHead):
                module.predictor.register_forward_hook(_cast_output)
            elif isinstance(module, KRCNNConvDeconvUpsampleHead):
                module.score_lowres.register_forward_hook(_cast_output)

    def forward(self, samples: list[dict[str, Any]]) -> Any:
        """Return the detections of the detector."""
        with torch.autocast(self.device_type, self.dtype):
            return self.model(samples)


def _cast_features(module: nn.Module, inputs: tuple[list[Tensor], Any]) -> tuple[list[Tensor], Any]:
    """Cast the pyramid to float32, because ``ROIAlign`` casts the boxes to the dtype of the features."""
    levels, boxes = inputs
    return [features.float() for features in levels], boxes


def _cast_output(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Cast a tensor, or the tensors in lists and tuples, to float32."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(_cast_output(module, inputs, item) for item in output)
