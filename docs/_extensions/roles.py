"""Turn the Sphinx roles in docstrings, such as ``:func:`build_mvit```, into links."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([\w.]+)`")
PUBLIC = ("mvit_det", "mvit_det.weights", "mvit_det.torchvision", "mvit_det.detectron2")


class Roles(griffe.Extension):
    """Turns a role into a link if the reference contains its name, or else into code."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        targets: dict[str, str] = {}
        for package in PUBLIC:
            module = pkg[package.partition(".")[2]] if "." in package else pkg
            for name in map(str, module.exports or ()):
                full = f"{package}.{name}"
                targets[name] = targets[full] = full
        _rewrite(pkg, targets)


def _rewrite(node: griffe.Object, targets: dict[str, str]) -> None:
    if node.docstring is not None:
        node.docstring.value = ROLE.sub(lambda match: _link(match[1], targets), node.docstring.value)
    for member in node.members.values():
        if not member.is_alias:
            _rewrite(member, targets)


def _link(name: str, targets: dict[str, str]) -> str:
    return f"[`{name}`][{targets[name]}]" if name in targets else f"`{name}`"
