"""The command that prints the parameters, multiply-adds and activations of each part of a detector."""

import argparse
from collections.abc import Sequence

import torch

from mvit_det.detectron2.config_files import CONFIG_HELP
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.detectron2.models.cost import NUM_DETECTIONS, NUM_REGIONS, Cost, count_costs
from mvit_det.errors import one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``tools/analyze_model.py``, or ``python -m mvit_det.detectron2.analyze``.

    Raises:
        InputError: if the config or an argument is not valid.
    """
    args = _parser().parse_intermixed_args(arguments)
    cfg = load_config(args.config_file, args.overrides)
    with torch.device("meta"):
        model = build(cfg.model)
    print(format_table(count_costs(model, args.size, args.regions, args.detections)))


def format_table(costs: dict[str, Cost]) -> str:
    """Return a table of costs, with one line per part."""
    lines = [f"{'':20}{'parameters':>14}{'multiply-adds, G':>18}{'activations, M':>16}"]
    for name, cost in costs.items():
        giga, mega = cost.multiply_adds / 1e9, cost.activations / 1e6
        lines.append(f"{name:20}{cost.parameters:14,}{giga:18,.1f}{mega:16,.1f}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Print the parameters, multiply-adds and activations of each part of a detector."
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="CONFIG",
        help=CONFIG_HELP,
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="image size in pixels; default: the square that the model pads to, or else 800 1280",
    )
    parser.add_argument(
        "--regions",
        type=int,
        default=NUM_REGIONS,
        help="number of regions for each box head; default: %(default)s",
    )
    parser.add_argument(
        "--detections",
        type=int,
        default=NUM_DETECTIONS,
        help="number of regions for the mask head; default: %(default)s",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the config")
    return parser


if __name__ == "__main__":
    with one_line_errors():
        main()
