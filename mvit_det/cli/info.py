"""``mvit-det info``: show the parameters, multiply-adds and output shapes of the variants."""

import argparse

from mvit_det.backbone.variants import VARIANTS
from mvit_det.cli.arguments import positive
from mvit_det.errors import InputError

HELP = "show parameters, multiply-adds and output shapes of the variants"
EXAMPLE = "mvit-det info mvitv2_t --size 800 1216"
DEFAULT_SIZE = (800, 1216)  # px


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("variant", nargs="?", help=f"one of {', '.join(VARIANTS)}; default: all")
    parser.add_argument(
        "--size",
        type=positive(int),
        nargs=2,
        default=DEFAULT_SIZE,
        metavar=("HEIGHT", "WIDTH"),
        help=f"size of the image in pixels; default: {DEFAULT_SIZE[0]} {DEFAULT_SIZE[1]}",
    )


def run(variant: str | None, size: tuple[int, int]) -> None:
    """Print a description of one variant, or of all."""
    for name in VARIANTS if variant is None else [variant]:
        try:
            print(describe(name, *size))
        except ValueError as error:  # the model rejects the name or the size
            raise InputError(error) from None


def describe(variant: str, height: int, width: int) -> str:
    """Describe a variant: its parameters, and multiply-adds and output shapes for one image.

    The model runs on the meta device, without computing anything. Multiply-adds are those of matrix products
    and convolutions.

    Args:
        variant: a key of :data:`mvit_det.VARIANTS`.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mvit_det.backbone.mvit import build_mvit

    with torch.device("meta"):
        model = build_mvit(variant).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            outputs = model(torch.empty(1, 3, height, width))
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"{variant}: {num_parameters:,} parameters, {counter.get_total_flops() / 2e9:,.1f} G "
        f"multiply-adds for {height} x {width} px"
    ]
    for name, output in outputs.items():
        _, channels, rows, columns = output.shape
        lines.append(f"  {name}: {channels} x {rows} x {columns}, stride {model.out_strides[name]}")
    return "\n".join(lines)
