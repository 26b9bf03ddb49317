"""The import rules: one direction, no cycles, and few third-party packages in the lower parts."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mvit_det

ROOT = Path(mvit_det.__file__).parent

# part -> the parts that it may import besides itself, and the third-party packages (None: any).
SHARED = {"dependencies", "engine", "errors", "files", "heads", "nms", "recipes"}
RULES = {
    "errors": ({"dependencies"}, set()),
    "files": ({"errors"}, set()),
    "heads": ({"errors"}, set()),
    "nms": ({"errors"}, {"torch", "torchvision"}),
    "recipes": (set(), set()),
    "dependencies": (set(), set()),
    "engine": ({"errors", "files"}, {"numpy", "tensorboard", "torch"}),
    "ops": ({"errors"}, {"torch"}),
    "backbone": ({"ops", "errors"}, {"torch"}),
    "weights": ({"backbone", "errors", "files", "heads"}, {"huggingface_hub", "safetensors", "torch"}),
    "data": (
        {"errors", "files", "recipes"},
        {"av", "cv2", "defusedxml", "numpy", "PIL", "pycocotools", "yaml"},
    ),
    "report": (
        {"data", "engine", "errors", "files"},
        {"av", "cv2", "matplotlib", "numpy", "PIL", "pycocotools", "rich", "supervision", "trackers"},
    ),
    "torchvision": ({"backbone", "data", "ops", "report", "weights", *SHARED}, None),
    "detectron2": ({"backbone", "data", "ops", "report", "weights", *SHARED}, None),
    "export": ({"ops", "torchvision"}, None),
    "benchmark": ({"backbone", "detectron2", "ops", "torchvision", "weights", *SHARED}, None),
    "cli": ({"backbone", "data", "detectron2", "ops", "report", "torchvision", "weights", *SHARED}, None),
}


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path):
    """Yield the names in the import statements of a file, including those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(module):
    """The packages that a module is in."""
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


FILES = {module_name(path): path for path in ROOT.rglob("*.py")}
IMPORTS = {name: set(imported_modules(path)) for name, path in FILES.items()}


@pytest.mark.parametrize("part", RULES)
def test_imports_follow_the_arrows(part):
    allowed, third_party = RULES[part]
    members = [name for name in FILES if name.split(".")[1:2] == [part]]
    assert members, f"no module in mvit_det.{part}"
    for name in members:
        for module in IMPORTS[name]:
            top, _, rest = module.partition(".")
            if top == "mvit_det":
                other = rest.partition(".")[0]
                assert other in {*allowed, part, "", "__version__"}, f"{name} imports {module}"
            elif third_party is not None and top not in sys.stdlib_module_names:
                extra = {"triton"} if name.startswith("mvit_det.ops.triton") else set()
                assert top in third_party | extra, f"{name} imports {module}"


def test_every_part_has_a_rule():
    parts = {name.split(".")[1] for name in FILES if name.count(".")}
    assert parts == {*RULES, "__main__"}


def test_there_are_no_import_cycles():
    # Importing a module runs the __init__ of each package that it is in.
    graph = {}
    for name, modules in IMPORTS.items():
        ours = {module for module in modules if module in FILES}
        parents = set().union(*map(packages_of, ours))
        graph[name] = (ours | parents) - packages_of(name) - {name, "mvit_det"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules
