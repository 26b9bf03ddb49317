"""Resizes tables of relative and absolute positions to the size of another model's."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.backbone.abs_pos import absolute_positions


def resize_positions(key: str, table: Tensor, target: Tensor) -> Tensor | None:
    """Resize a table of positions to the shape of ``target``.

    Args:
        key: name of the table, which ends with ``rel_pos_h``, ``rel_pos_w`` or ``pos_embed``.
        table: relative positions (2 * size - 1, C), resized by linear interpolation; or absolute positions of
            a square map (1, tokens, C), with or without a class token, resized by bicubic interpolation.
        target: a table of the same kind.

    Returns:
        a float32 tensor with the shape of ``target``; None if ``key`` does not name a table of positions, or
        if the tables differ by more than their size.
    """
    if table.dim() != target.dim() or table.shape[-1] != target.shape[-1] or not table.numel():
        return None
    if key.endswith(("rel_pos_h", "rel_pos_w")):
        return F.interpolate(table.float().T[None], size=len(target), mode="linear")[0].T
    if key.endswith("pos_embed"):
        side, target_side = (int(positions.shape[1] ** 0.5) for positions in (table, target))
        num_class_tokens = table.shape[1] - side**2  # 0 or 1; the class token comes first
        if num_class_tokens in (0, 1) and num_class_tokens == target.shape[1] - target_side**2:
            has_class_token = num_class_tokens == 1
            square = absolute_positions(table.float(), (target_side, target_side), has_class_token)
            return torch.cat([table[:, :num_class_tokens].float(), square.flatten(1, 2)], dim=1)
    return None
