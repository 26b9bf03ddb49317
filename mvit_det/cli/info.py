"""What a variant is: parameters, multiply-adds and output shapes; needs torch only."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from mvit_det.backbone.mvit import build_mvit


def describe(variant: str, height: int, width: int) -> str:
    """Return a few lines on a variant for an image of ``height`` x ``width`` px.

    Multiply-adds are those of matrix products and convolutions, counted without computing them.
    """
    with torch.device("meta"):
        model = build_mvit(variant).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            outputs = model(torch.empty(1, 3, height, width))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"{variant}: {parameters:,} parameters, {counter.get_total_flops() / 2e9:,.1f} G "
        f"multiply-adds for {height} x {width} px"
    ]
    for name, output in outputs.items():
        _, channels, rows, columns = output.shape
        stride = model.out_strides[name]
        lines.append(f"  {name}: {channels} x {rows} x {columns}, stride {stride}")
    return "\n".join(lines)
