"""The arrows of the design: backbone <- {coco, images, ...} <- {detectron2, torchvision} <- cli."""

import ast
import sys
from pathlib import Path

import mvit_det

ROOT = Path(mvit_det.__file__).parent


def imported(path):
    """Yield the full name of every module that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module


def test_the_backbone_imports_torch_triton_and_itself_alone():
    files = list((ROOT / "backbone").glob("*.py"))
    assert len(files) > 5
    for path in files:
        for module in imported(path):
            top = module.split(".")[0]
            is_own = module.startswith("mvit_det.backbone") or module == "mvit_det.errors"
            torch_and = {"torch", "triton"} if path.name.startswith("triton_") else {"torch"}
            assert is_own or top in torch_and | sys.stdlib_module_names, f"{path} imports {module}"


def test_weights_import_the_backbone_torch_and_safetensors_alone():
    files = list((ROOT / "weights").glob("*.py"))
    assert len(files) > 5
    for path in files:
        for module in imported(path):
            top = module.split(".")[0]
            is_own = (
                module.startswith(("mvit_det.backbone", "mvit_det.weights")) or module == "mvit_det.errors"
            )
            assert is_own or top in {"torch", "safetensors", *sys.stdlib_module_names}, f"{path}: {module}"


def test_the_two_homes_never_import_each_other():
    for home, other in (("torchvision", "detectron2"), ("detectron2", "torchvision")):
        for path in (ROOT / home).glob("*.py"):
            for module in imported(path):
                assert not module.startswith(f"mvit_det.{other}"), f"{path} imports {module}"


def test_what_the_homes_share_knows_neither():
    names = ("console", "errors", "images", "predict", "report", "run_folder", "visualize")
    shared = [*ROOT.glob("coco/*.py"), *(ROOT / f"{name}.py" for name in names)]
    for path in shared:
        for module in imported(path):
            assert not module.startswith(("mvit_det.torchvision", "mvit_det.detectron2")), path
            assert module.split(".")[0] not in ("torchvision", "detectron2", "lightning"), path
