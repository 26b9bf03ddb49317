"""Checks of the installation: versions, kernels, the backbone, both integrations, and the runtime."""

import json
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module, metadata

from mvit_det.dependencies import (
    DETECTRON2_COMMIT,
    REINSTALL_TORCH,
    explain_detectron2,
    explain_missing_module,
    install_command,
    one_line,
)
from mvit_det.errors import DependencyError

NATIVE_KERNELS = {"native": "attention", "convolution": "convolution", "roi_align": "RoIAlign"}
PACKAGES = {  # name for display -> name of the module
    "torchvision": "torchvision",
    "Lightning": "lightning",
    "NumPy": "numpy",
    "Pillow": "PIL",
    "setuptools": "setuptools",
    "pycocotools": "pycocotools",
    "OpenCV": "cv2",
    "PyAV": "av",
    "supervision": "supervision",
    "trackers": "trackers",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
    "Detectron2": "detectron2",
}


def check_installation() -> bool:
    """Print what is installed and what works; return whether anything works.

    If a check fails, the cause and the command that fixes it are printed. Every line is printed immediately,
    so that it is visible even if a later check crashes the interpreter.
    """
    distributions = metadata.packages_distributions()
    _print_fact("Python", platform.python_version)
    _print_fact("torch", _torch)
    if "torch" in distributions:
        _print_fact("GPU", _gpus)
        _print_fact("  Triton kernels", partial(_kernels, "triton"))
        for kernel, title in NATIVE_KERNELS.items():
            _print_fact(f"C kernel of {title}", partial(_kernels, kernel))
    for title, module in PACKAGES.items():
        _print_fact(title, partial(_version, module, distributions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "detectron2" in distributions:
            _print_fact("  commit", _detectron2_commit)
            _print_fact("  compiled part", partial(_try_import, "detectron2._C"))
            _print_fact("  model_zoo", partial(_try_import, "detectron2.model_zoo"))
        print()
        results = [
            _check("backbone", _run_backbone, _explain_torch, "torch"),
            _check("torchvision integration (mvit-det train ...)", _run_torchvision, _explain_torchvision),
            _check("runtime of exported detectors", _run_runtime, _explain_runtime, "runtime"),
            _check("Detectron2 integration (tools/)", _run_detectron2, explain_detectron2),
        ]
    return any(results)


def _print_fact(title: str, read: Callable[[], str]) -> None:
    try:
        text = read()
    except (Exception, SystemExit) as error:
        text = f"unknown: {one_line(error)}"
    print(f"{title:<15} {text}", flush=True)


def _check(
    title: str,
    run: Callable[[], None],
    explain: Callable[[BaseException], str],
    extra: str = "torchvision",
) -> bool:
    """Run a check, print its result, and return whether it passed.

    Args:
        title: what the check tries.
        run: the check, which raises an exception if it fails.
        explain: turns an exception into one line with the cause and the command that fixes it.
        extra: the extra that installs a missing package.
    """
    try:
        run()
    except DependencyError as error:
        cause = str(error)
    except ModuleNotFoundError as error:
        cause = explain_missing_module(error, extra)
    except (Exception, SystemExit) as error:
        cause = explain(error)
    else:
        print(f"{title} works", flush=True)
        return True
    print(f"{title} does not work: {cause}", flush=True)
    return False


def _torch() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "not installed"
    return f"{torch.__version__}, built for CUDA {torch.version.cuda or '(none)'}"


def _gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that torch can use"
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{device.name} ({device.total_memory / 2**30:.0f} GiB)" for device in devices)
    return f"{names}; bf16: {'yes' if torch.cuda.is_bf16_supported(including_emulation=False) else 'no'}"


def _kernels(backend: str) -> str:
    from mvit_det.ops.availability import unavailable_reason

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = unavailable_reason(backend)
    return f"not used: {reason}" if reason else "used; agrees with PyTorch's operators"


def _version(module: str, distributions: Mapping[str, Sequence[str]]) -> str:
    if module not in distributions:
        return "not installed"
    return ", ".join(sorted({metadata.version(name) for name in distributions[module]}))


def _detectron2_commit() -> str:
    origin = json.loads(metadata.distribution("detectron2").read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id")
    if commit is None:
        return "unknown: not installed from git"
    if commit == DETECTRON2_COMMIT:
        return f"{commit}, the tested one"
    return f"{commit}; the tested one is {DETECTRON2_COMMIT}"


def _try_import(module: str) -> str:
    try:
        import_module(module)
    except Exception as error:
        return f"does not load: {explain_detectron2(error)}"
    return "loads"


def _explain_torch(error: BaseException) -> str:
    return f"{one_line(error)}; see https://pytorch.org/get-started/locally for the right build of torch"


def _explain_torchvision(error: BaseException) -> str:
    text = one_line(error)
    if "torchvision::" in text:  # torchvision's operators did not load
        return f"torchvision was not built for this torch ({text}): {REINSTALL_TORCH}"
    return f"{text}; this installs the packages that it needs: {install_command('torchvision')}"


def _explain_runtime(error: BaseException) -> str:
    return f"{one_line(error)}: {install_command('runtime')}"


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _run_backbone() -> None:
    import torch

    from mvit_det.backbone.mvit import build_mvit

    images = torch.zeros(1, 3, 64, 64, device=_device())
    with torch.no_grad():
        build_mvit("mvitv2_nano").eval().to(_device())(images)


def _run_torchvision() -> None:
    import torch

    from mvit_det.torchvision import build_detector

    import_module("mvit_det.torchvision.train")
    import_module("mvit_det.torchvision.predict")
    detector = build_detector("mvitv2_nano", num_classes=2).eval().to(_device())
    with torch.no_grad():
        detector([torch.zeros(3, 64, 64, device=_device())])


def _run_runtime() -> None:
    import_module("mvit_det.runtime.onnx_session")


def _run_detectron2() -> None:
    import_module("mvit_det.detectron2.train")  # before detectron2: this import raises DependencyError
    import_module("mvit_det.detectron2.visualize")
    import torch
    from detectron2.config import get_cfg
    from detectron2.modeling import build_backbone

    from mvit_det.detectron2 import add_mvit_config

    cfg = get_cfg()
    add_mvit_config(cfg)
    cfg.MODEL.MVIT.NAME = "mvitv2_nano"
    cfg.MODEL.BACKBONE.NAME = "build_mvit_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = cfg.MODEL.MVIT.OUT_FEATURES
    with torch.no_grad():
        build_backbone(cfg).eval().to(_device())(torch.zeros(1, 3, 64, 64, device=_device()))
