"""Our backbone against others: time, and memory that the backward pass needs, measured in turn.

Both sides run once in each repeat, ours first; a ratio is theirs over ours, the median over the repeats,
so that what slows the machine for a while slows both. The loss of a training step is the sum of the mean
squares of the outputs. Peak memory is told on a GPU alone: a CPU counts it for a whole process. The share
of the machine's matrix rate is told for the models that compute what ours computes.
timm's MViTv2 returns the last map only, and runs at the 224 x 224 px of its pretraining: so does ours
against it, with as many pictures as make up the area.
"""

import argparse
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from statistics import linear_regression
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mvit_det.backbone import VARIANTS, build_mvit
from mvit_det.backbone.attend import choose
from mvit_det.doctor import explain_detectron2
from mvit_det.errors import DependencyError, InputError, unknown_name
from mvit_det.memory import keep_pages

MODULES = {  # of each model but ours
    "detectron2-mvit": ("detectron2.modeling",),
    "swin-t": ("detectron2.modeling.backbone.swin", "torchvision.models.swin_transformer"),
    "resnet-50": ("torchvision.models",),
    "timm-mvitv2": ("timm",),
}
TIMM_SIDE = 224  # px
TIMM_NAMES = {f"mvitv2_{name[0]}": f"mvitv2_{name}" for name in ("tiny", "small", "base", "large")}
SWIN_T = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
OUR_KEYWORDS = ("attention", "recompute")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODES = ("forward", "step")
WARM_UPS = 2
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = 256_000_000
OUT_OF_MEMORY = "out of memory"
HEADER = (
    "variant|against|mode|size|batch|dtype|ours, ms|theirs, ms|theirs/ours|GFLOP|of rate|saved, MB|peak, MB"
)
WIDTHS = (12, 25, 8, 10, 6, 8, 24, 24, 18, 8, 13, 20, 16)


class Side(NamedTuple):
    """A model, and what runs it: images (N, 3, H, W) -> its maps, as a dict, a sequence or one tensor."""

    module: nn.Module
    call: Callable[[Tensor], Any]


def build_other(who: str, variant: str, ours: nn.Module) -> Side:
    """Return the model that ``ours`` is compared with; the same architecture gets the same weights.

    Raises:
        InputError: if ``who`` or one of its keywords is unknown, or timm has no such variant.
        DependencyError: if a package is missing or cannot be used.
    """
    if who.startswith("ours:"):
        model: Any = build_mvit(variant, drop_path_rate=0.0, **our_keywords(who))
        model.load_state_dict(ours.state_dict(), strict=True)
        return Side(model, model)
    package = load(who)
    if who == "detectron2-mvit":
        keywords = asdict(VARIANTS[variant]) | {"norm_layer": partial(nn.LayerNorm, eps=1e-6)}
        model = package.MViT(**keywords | {"drop_path_rate": 0.0})
        model.load_state_dict(ours.state_dict(), strict=True)
    elif who == "timm-mvitv2":
        if variant not in TIMM_NAMES:
            raise InputError(f"variant {variant!r}: timm has none such, expected {', '.join(TIMM_NAMES)}")
        model = package.create_model(TIMM_NAMES[variant], num_classes=0, drop_path_rate=0.0)
        return Side(model, model.forward_features)
    elif who == "resnet-50":  # with norms that stay as they are, as in detectors
        model = package.resnet50(norm_layer=import_module("torchvision.ops").FrozenBatchNorm2d)
        model.fc = nn.Identity()
        stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
        stages = [nn.Sequential(stem, model.layer1), model.layer2, model.layer3, model.layer4]
        return Side(model, partial(_run_stages, stages))
    elif package.__name__.startswith("detectron2"):
        model = package.SwinTransformer(window_size=7, drop_path_rate=0.0, **SWIN_T)
    else:
        changes = {"patch_size": [4, 4], "window_size": [7, 7], "stochastic_depth_prob": 0.0}
        model = package.SwinTransformer(**changes, **SWIN_T)
        return Side(model, partial(_run_stages, [model.features[i : i + 2] for i in range(0, 8, 2)]))
    return Side(model, model)


def load(who: str) -> ModuleType:
    """Import the module that holds a model: the first that there is.

    Raises:
        InputError: if no model has that name.
        DependencyError: if none of its modules can be imported; the message says what mends it.
    """
    if who not in MODULES:
        raise unknown_name("name in --against", who, (*MODULES, *(f"ours:{key}=..." for key in OUR_KEYWORDS)))
    *first, last = MODULES[who]
    for name in first:
        with suppress(Exception):
            return import_module(name)
    try:
        return import_module(last)
    except Exception as error:  # packages that do not fit each other raise all kinds
        package = last.partition(".")[0]
        cause = f"{package} cannot be imported ({error}): pip install {package}"
        cause = explain_detectron2(error) if package == "detectron2" else cause
        raise DependencyError(f"{who}: {cause}") from error


def our_keywords(who: str) -> dict[str, str]:
    """Return {"recompute": "cheap"} for ``"ours:recompute=cheap"``; commas part several."""
    keywords = {}
    for part in who.removeprefix("ours:").split(","):
        key, equals, value = part.partition("=")
        if not (equals and value):
            raise InputError(f"--against {who!r}: expected ours:KEYWORD=VALUE, such as ours:recompute=cheap")
        if key not in OUR_KEYWORDS:
            raise unknown_name("keyword in --against", key, OUR_KEYWORDS)
        keywords[key] = value
    return keywords


def compare(ours: Side, theirs: Side, images: Tensor, mode: str, dtype: str, repeats: int) -> dict[str, Any]:
    """Return the costs of both sides, each a number, None where not told, or ``OUT_OF_MEMORY``.

    Times are in ms, with quartiles; memory is in MB (10^6 bytes). ``saved``: what autograd keeps for the
    backward pass, each storage once, without parameters but with their copies under autocast.
    ``peak``: the most allocated above what was there before, parameters and images among it.
    """
    sides = {"ours": ours, "theirs": theirs}
    times: dict[str, list[Any]] = {name: [] for name in sides}
    for side in sides.values():
        side.module.train(mode == "step")
    for _ in range(WARM_UPS + repeats):
        for name, side in sides.items():
            if OUT_OF_MEMORY not in times[name]:
                times[name].append(_unless_full(_run_timed, side, images, mode, dtype))

    row: dict[str, Any] = {"ratio": None}
    for name, side in sides.items():
        saved = _unless_full(saved_bytes, side, images, dtype) if mode == "step" else None
        peak = _unless_full(_peak_bytes, side, images, mode, dtype) if images.is_cuda else None
        for key, value in (("saved", saved), ("peak", peak)):
            row[f"{name}_{key}_mb"] = value / 1e6 if isinstance(value, int) else value
        is_full = OUT_OF_MEMORY in times[name]
        row[f"{name}_ms"] = OUT_OF_MEMORY if is_full else quartiles(1e3 * t for t in times[name][WARM_UPS:])
    if OUT_OF_MEMORY not in times["ours"] + times["theirs"]:
        pairs = zip(times["theirs"][WARM_UPS:], times["ours"][WARM_UPS:], strict=True)
        row["ratio"] = quartiles(their / our for their, our in pairs)
    return row


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Return the median and the quartiles, linear between the values."""
    data = torch.tensor(list(values), dtype=torch.float64)
    q1, median, q3 = data.quantile(data.new_tensor([0.25, 0.5, 0.75])).tolist()
    return {"q1": q1, "median": median, "q3": q3}


def run(side: Side, images: Tensor, mode: str, dtype: str) -> None:
    """Run a forward pass without gradients, or a training step's forward and backward."""
    if mode == "forward":
        with torch.no_grad():
            _forward(side, images, dtype)
    else:
        maps = _forward(side, images, dtype)
        torch.stack([each.float().square().mean() for each in maps]).sum().backward()


def saved_bytes(side: Side, images: Tensor, dtype: str) -> int:
    """Return the bytes that a forward pass leaves for the backward, each storage once, no parameters."""
    own = {tensor.untyped_storage().data_ptr() for tensor in side.module.state_dict().values()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a tensor that its own graph holds would never be freed

    def keep_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
        keep(inputs[0])

    hooks = []
    if getattr(side.module, "recompute", None) == "block":  # torch.utils.checkpoint has its own hooks
        for block in side.module.get_submodule("blocks").children():
            hooks.append(block.register_forward_pre_hook(keep_input))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = _forward(side, images, dtype)  # holds the graph, so that no address is used twice
    for hook in hooks:
        hook.remove()
    del maps
    return sum(sizes.values())


@lru_cache
def count_gflop(variant: str, height: int, width: int) -> float:
    """Return the GFLOP (10^9, a multiply-add is 2) of our forward pass for one picture, not computed."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        build_mvit(variant, attention="reference").eval()(torch.empty(1, 3, height, width))
    return counter.get_total_flops() / 1e9


def describe_machine(device: str, dtypes: Sequence[str]) -> dict[str, Any]:
    """Return what the run is on, with the rates of a matrix product (GFLOP/s) and of a copy (GB/s)."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    side = MATRIX_SIDE[device]
    rates = {}
    for dtype in dtypes:
        a, b = (torch.randn(side, side, device=device).to(DTYPES[dtype]) for _ in range(2))
        product = torch.empty_like(a)
        rates[dtype] = 2e-9 * side**3 / _median_seconds(partial(torch.mm, a, b, out=product), device)
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return {
        "cpu": found[1] if found else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "matrix_gflop_per_s": rates,
        "copy_gb_per_s": 2e-9 * COPY_BYTES / _median_seconds(partial(target.copy_, source), device),
    }


def benchmark(args: argparse.Namespace, rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield a row for each variant, opponent, dtype, mode and size; ``args`` as :func:`main` checked them."""
    for variant in args.variants:
        model = build_mvit(variant, drop_path_rate=0.0).to(args.device)
        ours = Side(model, model)
        for who in args.against:
            shapes = [(args.batch, *size) for size in args.sizes]
            if who == "timm-mvitv2":
                if variant not in TIMM_NAMES:
                    continue
                areas = [batch * height * width for batch, height, width in shapes]
                shapes = [(max(1, round(area / TIMM_SIDE**2)), TIMM_SIDE, TIMM_SIDE) for area in areas]
            theirs = build_other(who, variant, model)
            theirs.module.to(args.device)
            for dtype in args.dtypes:
                for mode in args.modes:
                    for batch, height, width in dict.fromkeys(shapes):
                        images = torch.randn(batch, 3, height, width, device=args.device)
                        work = count_gflop(variant, height, width) * batch * (3 if mode == "step" else 1)
                        row = {"variant": variant, "against": who, "mode": mode, "size_hw": [height, width]}
                        row |= {"batch": batch, "dtype": dtype, "gflop": work}
                        row |= compare(ours, theirs, images, mode, dtype, args.repeats)
                        row["their_module"] = type(theirs.module).__module__
                        row["ours_share"] = _share(work, row["ours_ms"], rates[dtype])
                        is_same = who == "detectron2-mvit" or who.startswith("ours:")
                        share = _share(work, row["theirs_ms"], rates[dtype])
                        row["theirs_share"] = share if is_same else None
                        yield row


def table_line(row: dict[str, Any]) -> str:
    """Return a row as a line, in columns of :data:`WIDTHS`."""
    cells = [row["variant"], row["against"], row["mode"], "x".join(map(str, row["size_hw"])), row["batch"]]
    cells += [row["dtype"], _spread(row["ours_ms"], 1), _spread(row["theirs_ms"], 1)]
    cells += [_spread(row["ratio"], 2), f"{row['gflop']:.1f}"]
    for key, form in (("share", "{:.0%}"), ("saved_mb", "{:.1f}"), ("peak_mb", "{:.1f}")):
        both = (row[f"ours_{key}"], row[f"theirs_{key}"])
        cells += [" / ".join("-" if x is None else x if isinstance(x, str) else form.format(x) for x in both)]
    return _aligned(cells)


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time against the area of a picture, log-log, with the exponent of each line in the legend."""
    from matplotlib.figure import Figure

    modes = list(dict.fromkeys(row["mode"] for row in rows))
    figure = Figure(figsize=(7 * len(modes), 6), layout="constrained")
    for mode, axes in zip(modes, figure.subplots(1, len(modes), squeeze=False)[0], strict=True):
        lines: dict[str, dict[float, float]] = {}
        for row in rows:
            if row["mode"] == mode and row["against"] != "timm-mvitv2":  # one size
                area = math.prod(row["size_hw"]) / 1e6
                for name, key in (("ours", "ours_ms"), (row["against"], "theirs_ms")):
                    if row[key] != OUT_OF_MEMORY:
                        line = lines.setdefault(f"{row['variant']} {name}, {row['dtype']}", {})
                        line.setdefault(area, row[key]["median"])
        for label, line in lines.items():
            areas = sorted(line)
            costs = [line[area] for area in areas]
            if len(areas) > 1:
                slope = linear_regression([math.log(x) for x in areas], [math.log(y) for y in costs]).slope
                label = f"{label}: area^{slope:.2f}"
            axes.loglog(areas, costs, marker="o", label=label)
        axes.set(title=mode, xlabel="area of a picture, megapixels", ylabel="time of a batch, ms")
        axes.grid(which="both", alpha=0.3)
        if lines:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and write it; ``argv`` is that of ``tools/benchmark.py``."""
    args = _parse(argv)
    if args.keep_pages:
        keep_pages()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    machine = describe_machine(args.device, args.dtypes)
    settings = {key: getattr(args, key) for key in ("device", "repeats", "keep_pages", "seed")}
    print("; ".join(f"{key} {value}" for key, value in (machine | settings).items()))
    print(_aligned(HEADER.split("|")), flush=True)
    rows = []
    for row in benchmark(args, machine["matrix_gflop_per_s"]):
        rows.append(row)
        print(table_line(row), flush=True)
        if args.out:  # after each row: a long run may be stopped
            result = {"machine": machine, "settings": settings, "rows": rows}
            (args.out / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n")
    if args.out and len(args.sizes) > 1:
        plot(rows, args.out / "benchmark.png")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Time and memory of our backbone against others, measured in turn in one run."
    )
    add = parser.add_argument
    names = f"some of {', '.join(VARIANTS)}; default: mvitv2_t"
    add("--variants", nargs="+", default=["mvitv2_t"], metavar="NAME", help=names)
    names = f"some of {', '.join(MODULES)}, ours:recompute=cheap, ours:attention=reference and such"
    add("--against", nargs="+", metavar="NAME", help=f"{names}; default: the first four, if installed")
    add("--sizes", nargs="+", default=["800x1216"], metavar="HxW", help="of a picture, px; default: 800x1216")
    add("--batch", type=int, default=1, help="pictures at once; default: %(default)s")
    add(
        "--dtypes",
        nargs="+",
        default=["float32"],
        metavar="DTYPE",
        help=f"some of {', '.join(DTYPES)}; the first",
    )
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=default_device, help="cpu or cuda; default here: %(default)s")
    add("--modes", nargs="+", default=list(MODES), metavar="MODE", help=f"some of {', '.join(MODES)}; all")
    add("--repeats", type=int, default=7, help=f"after {WARM_UPS} warm-ups; default: %(default)s")
    add("--threads", type=int, help="of torch on a CPU; default: torch's choice")
    add("--keep-pages", action="store_true", help="ask glibc to keep freed memory, as training does")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, metavar="FOLDER", help="for benchmark.json and, of several sizes, benchmark.png")
    args = parser.parse_args(argv)

    args.variants = [name if name.startswith("mvit") else f"mvitv2_{name}" for name in args.variants]
    checks: list[tuple[str, Iterable[str], list[str]]] = [
        ("variant", VARIANTS, args.variants),
        ("dtype", DTYPES, args.dtypes),
        ("mode", MODES, args.modes),
        ("device", MATRIX_SIDE, [args.device]),
    ]
    for kind, known, values in checks:
        for value in values:
            if value not in known:
                raise unknown_name(kind, value, known)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no GPU here, expected cpu")
    if args.device == "cpu" and "fp16" in args.dtypes:
        raise InputError("dtype 'fp16': runs on cuda only, expected float32 or bf16")
    for flag in ("batch", "repeats", "threads"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise InputError(f"--{flag} {getattr(args, flag)}: must be at least 1")
    args.sizes = [_size_hw(text) for text in args.sizes]
    args.against = _usable(args) if args.against is None else [_checked(who, args) for who in args.against]
    if args.out:
        if len(args.sizes) > 1:
            import_module("matplotlib.figure")  # it would be missed after the run
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {args.out}: cannot be made a folder ({error.strerror})") from error
    return args


def _usable(args: argparse.Namespace) -> list[str]:
    usable = []
    for who in MODULES:
        try:
            usable.append(_checked(who, args))
        except (InputError, DependencyError) as error:
            print(f"left out: {error}")
    if not usable:
        raise InputError("--against: none of the packages is there, expected ours:recompute=cheap or such")
    return usable


def _checked(who: str, args: argparse.Namespace) -> str:
    if who.startswith("ours:"):
        keywords = our_keywords(who)
        with torch.device("meta"):
            build_mvit("mvitv2_nano", **keywords)
        for dtype in args.dtypes:
            choose(keywords.get("attention", "auto"), args.device, DTYPES[dtype])
    else:
        load(who)
        if who == "timm-mvitv2" and not set(args.variants) & set(TIMM_NAMES):
            expected = f"expected some of {', '.join(TIMM_NAMES)}"
            raise InputError(f"timm has no {', '.join(args.variants)}: {expected}")
    return who


def _size_hw(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(int(found[1]), int(found[2])) < 32:
        raise InputError(f"size {text!r}: expected HxW with both at least 32 px, such as 800x1216")
    return int(found[1]), int(found[2])


def _run_stages(stages: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps


def _forward(side: Side, images: Tensor, dtype: str) -> list[Tensor]:
    with torch.autocast(images.device.type, DTYPES[dtype], enabled=dtype != "float32"):
        maps = side.call(images)
    if isinstance(maps, Tensor):
        return [maps]
    return list(maps.values() if isinstance(maps, dict) else maps)


def _run_timed(side: Side, images: Tensor, mode: str, dtype: str) -> float:
    try:
        return _seconds(partial(run, side, images, mode, dtype), images.device.type)
    finally:
        side.module.zero_grad()


def _peak_bytes(side: Side, images: Tensor, mode: str, dtype: str) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _run_timed(side, images, mode, dtype)
    return torch.cuda.max_memory_allocated() - before


def _unless_full(function: Callable[..., Any], *args: Any) -> Any:
    with suppress(torch.OutOfMemoryError):
        return function(*args)
    torch.cuda.empty_cache()
    return OUT_OF_MEMORY


def _seconds(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _median_seconds(work: Callable[[], object], device: str) -> float:
    return quartiles([_seconds(work, device) for _ in range(WARM_UPS + 5)][WARM_UPS:])["median"]


def _share(gflop: float, ms: Any, rate: float) -> float | None:
    return None if ms == OUT_OF_MEMORY else gflop / (ms["median"] / 1e3) / rate


def _spread(value: Any, digits: int) -> str:
    if not isinstance(value, dict):
        return value or "-"
    q1, median, q3 = (f"{value[key]:.{digits}f}" for key in ("q1", "median", "q3"))
    return f"{median} [{q1}-{q3}]"


def _aligned(cells: Iterable[object]) -> str:
    return "".join(f"{cell!s:<{width - 1}} " for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
