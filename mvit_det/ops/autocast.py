"""Autocast for operations that PyTorch's autocast does not know."""

import torch
from torch import Tensor


def cast(x: Tensor) -> Tensor:
    """Return ``x`` in autocast's dtype if autocast is on, as PyTorch does for matrix products.

    Like PyTorch, it leaves float64 unchanged.
    """
    device = x.device.type
    is_on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return x.to(torch.get_autocast_dtype(device)) if is_on and x.dtype != torch.float64 else x
