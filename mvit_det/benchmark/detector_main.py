"""The command line of ``tools/benchmark.py detector``."""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from mvit_det.benchmark.agreement import compare_detections
from mvit_det.benchmark.arguments import (
    add_common_flags,
    check_common_flags,
    make_folder,
    parse_size,
    parse_variant,
)
from mvit_det.benchmark.detector_compare import MODES, Run, compare_detectors
from mvit_det.benchmark.detector_output import agreement_line, header, parts_table, times_table
from mvit_det.benchmark.detectors import (
    DETECTORS,
    Detections,
    Detector,
    build_detector,
    import_builders,
    random_weights,
)
from mvit_det.benchmark.machine import describe_machine
from mvit_det.benchmark.samples import make_samples
from mvit_det.errors import DependencyError, RunError
from mvit_det.ops.allocator import keep_freed_memory


def main(argv: Sequence[str]) -> None:
    """Run the benchmark: check that the detections agree, print the tables and write ``detector.json``.

    Args:
        argv: the command line without the program's name and the word ``detector``.

    Raises:
        InputError: if a flag has a value that cannot be used.
        DependencyError: if the package of a named detector is missing or cannot be imported.
        RunError: if detectors with the same weights detect different objects.
    """
    args = _parse(argv)
    if args.keep_freed_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    detectors = _build_detectors(args)
    if args.profile:
        _profile(detectors, args)
    else:
        _measure(detectors, args)


def _profile(detectors: dict[str, Detector], args: argparse.Namespace) -> None:
    for dtype, mode, name in product(args.dtypes, args.modes, detectors):
        profile = Run(detectors[name], mode, dtype, args.device).profile()
        print(f"\n## {name}, {mode}, {dtype}\n\n{profile}", flush=True)


def _measure(detectors: dict[str, Detector], args: argparse.Namespace) -> None:
    keys = ("variant", "size", "batch", "device", "repeats", "keep_freed_memory")
    result: dict[str, Any] = {
        "machine": describe_machine(args.device, ()),
        "settings": {key: getattr(args, key) for key in keys},
    }
    print(header(result["machine"], result["settings"]), flush=True)
    result["agreement"] = _compare_detections(detectors)
    result["rows"] = []
    for dtype, mode in product(args.dtypes, args.modes):
        rows = list(compare_detectors(detectors, mode, dtype, args.device, args.repeats))
        print(f"\n## {mode}, {dtype}\n\n{times_table(rows)}\n\n{parts_table(rows)}", flush=True)
        result["rows"] += rows
        if args.out:  # after each table, because a long run may be stopped
            (args.out / "detector.json").write_text(json.dumps(result, indent=1) + "\n")
    wrong = [found["detectors"][0] for found in result["agreement"] if not found["agree"]]
    if wrong:
        raise RunError(
            f"{', '.join(wrong)}: detections differ from those of {result['agreement'][0]['detectors'][1]}"
        )


def _build_detectors(args: argparse.Namespace) -> dict[str, Detector]:
    samples = make_samples(args.batch, args.size[0], args.size[1], args.image)
    weights = random_weights(args.variant)
    return {
        name: build_detector(name, args.variant, weights, samples, args.device) for name in args.detectors
    }


def _compare_detections(detectors: dict[str, Detector]) -> list[dict[str, Any]]:
    """Compare the detections of the detectors with our architecture, and print the result."""
    first, *others = [name for name in detectors if DETECTORS[name].has_our_architecture] or [""]
    if not others:
        print("\nDetections are not compared: only one of the detectors has our architecture.", flush=True)
    results = []
    # TensorFloat-32, which convolutions on a GPU use by default, is not accurate enough for a comparison.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        reference = _detections_of(detectors[first]) if others else []
        for name in others:
            found = compare_detections(_detections_of(detectors[name]), reference)
            results.append({"detectors": [name, first], **found})
            print(f"\n{agreement_line(name, first, found)}", flush=True)
    return results


def _detections_of(detector: Detector) -> list[Detections]:
    detector.module.eval()
    return detector.detections()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    args = _build_parser().parse_args(argv)
    args.variant = parse_variant(args.variant)
    check_common_flags(args, MODES)
    args.size = parse_size(args.size)
    if args.detectors:
        for name in args.detectors:
            import_builders(name)
    else:
        args.detectors = _installed_detectors()
    if args.out:
        make_folder(args.out)
    return args


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark.py detector",
        description="Compare time and memory of whole detectors, which run in turn, and of their parts.",
    )
    add = parser.add_argument
    add("--variant", default="mvitv2_t", metavar="NAME", help="backbone; default: %(default)s")
    known = (
        f"detectors, the first of which ratios refer to: {', '.join(DETECTORS)}; default: the installed ones"
    )
    add("--detectors", nargs="+", metavar="NAME", help=known)
    add("--size", default="800x1196", metavar="HxW", help="size of the images, px; default: %(default)s")
    add("--image", type=Path, metavar="FILE", help="image to detect objects in; default: ellipses on noise")
    add_common_flags(parser, MODES, repeats=5)
    add("--profile", action="store_true", help="print the operators that take the most time instead")
    add("--out", type=Path, metavar="FOLDER", help="folder for detector.json")
    return parser


def _installed_detectors() -> list[str]:
    installed = []
    for name in DETECTORS:
        try:
            import_builders(name)
            installed.append(name)
        except DependencyError as error:
            print(f"skipped: {error}")
    return installed
