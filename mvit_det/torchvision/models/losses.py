"""The losses of the box heads, and the weights that make a loss a mean over images.

As inside Detectron2 (see ``mvit_det/detectron2/models/roi_heads.py``), a loss is the mean over images of the
mean over the regions of an image, so that one process, several processes and accumulated gradients give the
same weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def region_weights(counts: Sequence[int], like: Tensor) -> Tensor:
    """Return weights (R,) whose weighted sum is the mean over images of the mean over an image's regions.

    Args:
        counts: number of regions of each image; their sum is R. An image without regions contributes 0.
        like: tensor that determines the type and the device.
    """
    weights = [like.new_full((count,), 1 / (count * len(counts))) for count in counts if count]
    return torch.cat([like.new_zeros(0), *weights])


def box_losses(
    logits: Tensor, deltas: Tensor, labels: Sequence[Tensor], regression_targets: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the classification loss (cross-entropy) and the box loss (L1) of one box head.

    Args:
        logits: (R, 1 + K) for the regions of all images; class 0 is the background.
        deltas: (R, 4), class-agnostic, or (R, 4 * K).
        labels: (R_i,) for each image; 0 for the background.
        regression_targets: (R_i, 4) for each image, used only where the label is not 0.
    """
    weights = region_weights([len(image_labels) for image_labels in labels], logits)
    label = torch.cat(list(labels))
    loss_classifier = (F.cross_entropy(logits, label, reduction="none") * weights).sum()
    positive = torch.where(label > 0)[0]
    per_class = deltas.reshape(len(deltas), deltas.shape[1] // 4, 4)
    column = (label[positive] - 1).clamp(max=per_class.shape[1] - 1)
    errors = (per_class[positive, column] - torch.cat(list(regression_targets))[positive]).abs().sum(1)
    return loss_classifier, (errors * weights[positive]).sum()
