"""The versions of other packages that are known to work, and the commands that install them."""

import re
import textwrap

import torch

COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"  # of Detectron2, known to work
PACKAGES = f"'detectron2 @ git+https://github.com/facebookresearch/detectron2.git@{COMMIT}' 'setuptools<81'"
INSTALL = f"pip install --no-build-isolation {PACKAGES}"
# They are all 0.6: without these flags pip keeps the one that is there, or takes the one it built before.
REINSTALL = f"pip install --no-build-isolation --force-reinstall --no-deps --no-cache-dir {PACKAGES}"
REINSTALL_TORCH = "pip install --force-reinstall torch torchvision"

DISTRIBUTIONS = {  # pip's name, where one imports another
    "PIL": "pillow",
    "antlr4": "antlr4-python3-runtime",
    "cv2": "opencv-python",
    "hydra": "hydra-core",
    "yaml": "pyyaml",
}


def explain_detectron2(error: BaseException) -> str:
    """Return one line on why Detectron2 cannot be imported, with the command that mends it."""
    text = one_line(error)
    name = (error.name or "") if isinstance(error, ImportError) else ""
    package = name.partition(".")[0]
    if isinstance(error, ImportError) and re.search(r"undefined symbol|\b_C\b", f"{text} {name}"):
        return f"Detectron2's compiled part was not built for torch {torch.__version__} ({text}): {REINSTALL}"
    if isinstance(error, ModuleNotFoundError) and package:
        if package == "detectron2":
            return f"Detectron2 is not installed (no module {name}): {INSTALL}"
        if package == "pkg_resources":
            return "Detectron2 needs pkg_resources, which setuptools 81+ lacks: pip install 'setuptools<81'"
        missing = DISTRIBUTIONS.get(package, package)
        return f"Detectron2 needs {package}, which is not installed: pip install {missing}"
    for module, other in (("PIL", "Pillow"), ("numpy", "NumPy")):
        if text.startswith(f"AttributeError: module '{module}"):
            return f"Detectron2 is too old for the {other} installed here ({text}): {REINSTALL}"
    return f"Detectron2 cannot be used ({text}); this installs the version known to work: {REINSTALL}"


def one_line(error: BaseException) -> str:
    """Return an exception as one line of at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
