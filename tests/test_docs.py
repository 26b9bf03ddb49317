"""The documentation covers every public name and every flag."""

import ast
import re
from pathlib import Path

import pytest

from mvit_det.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = ("mvit_det", "mvit_det.weights", "mvit_det.torchvision", "mvit_det.detectron2")


def source_of(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def exports(package):
    """The names in ``__all__``, read from the source, because Detectron2 may not be installed."""
    for node in ast.parse(source_of(package).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{package} has no __all__")


PUBLIC = [(package, name) for package in PACKAGES for name in exports(package)]


def docstring(module, name):
    """The docstring of a name, in the module that defines it."""
    body = ast.parse(source_of(module).read_text()).body
    for index, node in enumerate(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node)
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if name in map(ast.unparse, targets):  # a constant: a string follows it
            following = body[index + 1] if index + 1 < len(body) else None
            value = following.value if isinstance(following, ast.Expr) else None
            return value.value if isinstance(value, ast.Constant) else None
    for node in ast.walk(ast.parse(source_of(module).read_text())):
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            if name == (alias.asname or alias.name):
                return docstring(node.module, alias.name)
    raise AssertionError(f"{module} does not define {name}")


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_every_public_name_is_documented(package, name):
    pages = "".join(path.read_text() for path in REFERENCE.glob("*.md"))
    documented = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert f"{package}.{name}" in documented
    assert docstring(package, name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_documented(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out.partition("example:")[0])) - {"--help"}
    (section,) = re.findall(
        rf"^## mvit-det {command}\n(.*?)(?=^## |\Z)",
        (REFERENCE / "commands.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert flags <= set(re.findall(r"--[a-z][a-z-]*", section))


def test_the_readme_links_to_files_that_exist():
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_contributing_names_files_that_exist():
    names = re.findall(
        r"`((?:configs|docs|mvit_det|tests|tools)/[\w./]*)`", (ROOT / "CONTRIBUTING.md").read_text()
    )
    missing = [name for name in names if not (ROOT / name).exists()]
    assert len(names) > 20
    assert not missing
