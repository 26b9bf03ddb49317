"""Mixed precision for what torch's autocast does not see."""

import torch
from torch import Tensor


def cast(x: Tensor) -> Tensor:
    """Return ``x`` in the dtype of autocast where that is on, as torch does for matrix products."""
    device = x.device.type
    is_on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return x.to(torch.get_autocast_dtype(device)) if is_on and x.dtype != torch.float64 else x
