"""What is installed here, what of ours works with it, and the line that mends what does not."""

import json
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module, metadata

import torch

from mvit_det.backbone.mvit import build_mvit
from mvit_det.dependencies import COMMIT, REINSTALL_TORCH, explain_detectron2, one_line
from mvit_det.errors import EXTRA, DependencyError
from mvit_det.ops.availability import unavailable_reason


def doctor() -> bool:
    """Print what is installed and what works; return whether anything does.

    Whatever breaks becomes a line. Each is printed as soon as it is known, so that those before it are
    there even if a package crashes the interpreter.
    """
    installed = metadata.packages_distributions()
    _say("Python", platform.python_version)
    _say("torch", lambda: f"{torch.__version__}, built for CUDA {torch.version.cuda or '(none)'}")
    _say("GPU", _gpus)
    if torch.cuda.is_available():
        _say("  Triton kernels", partial(_kernels, "triton"))
    _say("kernel in C", partial(_kernels, "native"))
    for label, package in (
        ("torchvision", "torchvision"),
        ("Lightning", "lightning"),
        ("NumPy", "numpy"),
        ("Pillow", "PIL"),
        ("setuptools", "setuptools"),
        ("pycocotools", "pycocotools"),
        ("OpenCV", "cv2"),
        ("supervision", "supervision"),
        ("Detectron2", "detectron2"),
    ):
        _say(label, partial(_version, package, installed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "detectron2" in installed:
            _say("  commit", _commit)
            _say("  compiled part", partial(_try_import, "detectron2._C"))
            _say("  model_zoo", partial(_try_import, "detectron2.model_zoo"))
        print()
        works = [
            _try("backbone", _run_backbone, _explain_torch),
            _try("torchvision home (mvit-det train ...)", _run_torchvision, _explain_torchvision),
            _try("Detectron2 home (tools/)", _run_detectron2, explain_detectron2),
        ]
    return any(works)


def _say(label: str, tell: Callable[[], str]) -> None:
    try:
        text = tell()
    except (Exception, SystemExit) as error:
        text = f"cannot be told: {one_line(error)}"
    print(f"{label:<16}{text}", flush=True)


def _try(label: str, run: Callable[[], None], explain: Callable[[BaseException], str]) -> bool:
    try:
        run()
    except (Exception, SystemExit) as error:
        if isinstance(error, DependencyError):  # it says all
            cause = str(error)
        elif isinstance(error, ModuleNotFoundError):  # of ours: Detectron2's are the case above
            cause = f"{error.name} is not installed: {EXTRA}"
        else:
            cause = explain(error)
        print(f"{label} does not work: {cause}", flush=True)
        return False
    print(f"{label} works", flush=True)
    return True


def _gpus() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use"
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{device.name} ({device.total_memory / 2**30:.0f} GiB)" for device in devices)
    return f"{names}; bf16: {'yes' if torch.cuda.is_bf16_supported(including_emulation=False) else 'no'}"


def _kernels(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = unavailable_reason(name)
    return f"left out: {reason}" if reason else "checked against torch's operators"


def _version(package: str, installed: Mapping[str, Sequence[str]]) -> str:
    if package not in installed:
        return "not installed"
    return ", ".join(sorted({metadata.version(name) for name in installed[package]}))


def _commit() -> str:
    origin = json.loads(metadata.distribution("detectron2").read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id")
    if commit is None:
        return "unknown: not installed from git"
    return f"{commit}, {'known to work' if commit == COMMIT else f'not the one known to work, {COMMIT}'}"


def _try_import(module: str) -> str:
    try:
        import_module(module)
    except Exception as error:
        return f"does not load: {explain_detectron2(error)}"
    return "loads"


def _explain_torch(error: BaseException) -> str:
    return f"{one_line(error)}; https://pytorch.org/get-started/locally has the torch for this machine"


def _explain_torchvision(error: BaseException) -> str:
    text = one_line(error)
    if "torchvision::" in text:  # its operators did not load
        return f"torchvision was not built for this torch ({text}): {REINSTALL_TORCH}"
    return f"{text}; what it is made for: {EXTRA}"


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@torch.no_grad()
def _run_backbone() -> None:
    build_mvit("mvitv2_nano").eval().to(_device())(torch.zeros(1, 3, 64, 64, device=_device()))


@torch.no_grad()
def _run_torchvision() -> None:
    from mvit_det.torchvision import build_detector

    import_module("mvit_det.torchvision.train")
    import_module("mvit_det.torchvision.predict")
    detector = build_detector("mvitv2_nano", num_classes=2).eval().to(_device())
    detector([torch.zeros(3, 64, 64, device=_device())])


@torch.no_grad()
def _run_detectron2() -> None:
    import_module("mvit_det.detectron2.train")  # first: ours says what is wrong with Detectron2
    import_module("mvit_det.detectron2.visualize")
    from detectron2.config import get_cfg
    from detectron2.modeling import build_backbone

    from mvit_det.detectron2 import add_mvit_config

    cfg = get_cfg()
    add_mvit_config(cfg)
    cfg.MODEL.MVIT.NAME = "mvitv2_nano"
    cfg.MODEL.BACKBONE.NAME = "build_mvit_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = cfg.MODEL.MVIT.OUT_FEATURES
    build_backbone(cfg).eval().to(_device())(torch.zeros(1, 3, 64, 64, device=_device()))
