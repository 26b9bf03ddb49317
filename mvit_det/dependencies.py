"""The commands that install optional packages, and explanations of failed imports."""

import re
import textwrap
from importlib import metadata

DETECTRON2_COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"  # the commit that is tested
_DETECTRON2 = (
    f"'detectron2 @ git+https://github.com/facebookresearch/detectron2.git@{DETECTRON2_COMMIT}' "
    "'setuptools<81'"
)
INSTALL_DETECTRON2 = f"pip install --no-build-isolation {_DETECTRON2}"
# Every commit of Detectron2 has the version 0.6. Without these flags, pip would keep the installed commit, or
# reuse a wheel that it built earlier.
REINSTALL_DETECTRON2 = (
    f"pip install --no-build-isolation --force-reinstall --no-deps --no-cache-dir {_DETECTRON2}"
)
REINSTALL_TORCH = "pip install --force-reinstall torch torchvision"

# Name of a module -> name of its package on PyPI, where they differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "antlr4": "antlr4-python3-runtime",
    "cv2": "opencv-python",
    "hydra": "hydra-core",
    "yaml": "pyyaml",
}


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra."""
    return f"pip install 'mvit_det[{extra}]'"


def explain_missing_module(error: ModuleNotFoundError, extra: str = "torchvision") -> str:
    """Return one line that names the missing module and the command that installs it, as part of an extra."""
    module = (error.name or "").partition(".")[0]
    command = INSTALL_DETECTRON2 if module == "detectron2" else install_command(extra)
    return f"{error.name} is not installed: {command}"


def explain_detectron2(error: BaseException) -> str:
    """Return one line that says why Detectron2 cannot be imported, and the command that fixes it.

    Args:
        error: the exception that ``import detectron2`` raised.
    """
    text = one_line(error)
    name = (error.name or "") if isinstance(error, ImportError) else ""
    module = name.partition(".")[0]
    if isinstance(error, ImportError) and re.search(r"undefined symbol|\b_C\b", f"{text} {name}"):
        version = metadata.version("torch")
        return (
            f"Detectron2's compiled part was not built for torch {version} ({text}): {REINSTALL_DETECTRON2}"
        )
    if isinstance(error, ModuleNotFoundError) and module:
        if module == "detectron2":
            return f"Detectron2 is not installed (no module {name}): {INSTALL_DETECTRON2}"
        if module == "pkg_resources":
            return "Detectron2 needs pkg_resources, which setuptools 81+ lacks: pip install 'setuptools<81'"
        return (
            f"Detectron2 needs {module}, which is not installed: "
            f"pip install {DISTRIBUTIONS.get(module, module)}"
        )
    for module, title in (("PIL", "Pillow"), ("numpy", "NumPy")):
        if text.startswith(f"AttributeError: module '{module}"):
            return (
                f"Detectron2 is too old for the installed version of {title} ({text}): {REINSTALL_DETECTRON2}"
            )
    return f"Detectron2 cannot be imported ({text}); this installs the tested version: {REINSTALL_DETECTRON2}"


def one_line(error: BaseException) -> str:
    """Return the type and the message of an exception as one line of at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
