"""Divides the time of a detector among its parts, forward and backward."""

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from operator import attrgetter
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

OTHER = "other"


class PartClock:
    """Measures how long each part of a model runs.

    A part's time does not include that of the parts that it calls. In the backward pass, the time of an
    autograd node belongs to the part that created the node.

    Args:
        device: ``"cpu"`` or ``"cuda"``. On a GPU, each change of the part waits for the queued work, so that
            the sum is more than the time of a run without a clock.

    Attributes:
        forward: seconds of each part in the forward pass.
        backward: seconds of each part in the backward pass.
    """

    def __init__(self, device: str) -> None:
        self.forward: dict[str, float] = defaultdict(float)
        self.backward: dict[str, float] = defaultdict(float)
        self._synchronize = torch.get_device_module(device).synchronize
        self._seconds: dict[str, float] = self.forward
        self._part, self._since = OTHER, 0.0
        # Autograd numbers its nodes in the order of their creation; the part of a node is that of the last
        # start at or below its number.
        self._starts: list[int] = []
        self._started_parts: list[str] = []

    @contextmanager
    def run(self) -> Iterator[None]:
        """Measure the code in this context; what belongs to no part is ``"other"``."""
        self._synchronize()
        self._since = time.perf_counter()
        yield
        self._switch(OTHER, is_end=True)

    def watch_backward(self, loss: Tensor) -> None:
        """Measure the backward pass of ``loss``, which the caller runs next."""
        self._switch(OTHER, is_end=True)
        self._seconds = self.backward
        for node in _nodes(loss):
            index = bisect_right(self._starts, node._sequence_nr()) - 1
            # Nodes that accumulate gradients of parameters have no number; they count to the node before.
            if index >= 0 and node.name() != "torch::autograd::AccumulateGrad":
                node.register_prehook(lambda _, part=self._started_parts[index]: self._switch(part))

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` so that its time counts to ``part``."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            before = self._part
            self._enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._enter(before)

        return run

    def _enter(self, part: str) -> None:
        self._switch(part)
        self._starts.append(torch._C._autograd._get_sequence_nr())
        self._started_parts.append(part)

    def _switch(self, part: str, is_end: bool = False) -> None:
        if part == self._part and not is_end:
            return
        self._synchronize()
        now = time.perf_counter()
        self._seconds[self._part] += now - self._since
        self._part, self._since = part, now


@contextmanager
def clocked_parts(model: nn.Module, parts: Mapping[str, Sequence[str]], clock: PartClock) -> Iterator[None]:
    """Let a clock measure the functions of a model's parts within this context.

    Args:
        model: the model.
        parts: for each part its functions: ``"a.b.forward"`` is an attribute of the model, and
            ``"module:Class.function"`` one of a Python module. Functions that do not exist are ignored.
        clock: measures them.
    """
    with ExitStack() as stack:
        for part, paths in parts.items():
            for path in paths:
                owner, name = find_owner(model, path)
                if owner is not None:
                    stack.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        yield


def find_owner(model: nn.Module, path: str) -> tuple[Any, str]:
    """Return the object that has the function of a path, or None if there is none, and its name."""
    module, _, path = path.rpartition(":")
    root: Any = import_module(module) if module else model
    parents, _, name = path.rpartition(".")
    try:
        owner = attrgetter(parents)(root) if parents else root
    except AttributeError:
        return None, name
    return (owner if hasattr(owner, name) else None), name


def _nodes(loss: Tensor) -> Iterator[Any]:
    """Yield the autograd nodes that the backward pass of a loss runs."""
    pending, seen = [loss.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            pending += [following for following, _ in node.next_functions]
