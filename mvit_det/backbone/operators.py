"""Operators of torch, which a compiler takes as a whole."""

from collections.abc import Callable
from typing import Any

import torch


def operator(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register the function below as ``torch.ops.mvit_det.<name>``, which mutates nothing.

    ``fake`` takes the same arguments and returns empty tensors of the shapes and dtypes that it will.

    As :func:`torch.library.custom_op`, whose operators import the compiler when first called: two seconds.
    """

    def register(function: Callable[..., Any]) -> Any:
        full_name = f"mvit_det::{name}"
        torch.library.define(full_name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(full_name, "default")(function)
        torch.library.register_fake(full_name, fake)
        return getattr(torch.ops.mvit_det, name)

    return register
