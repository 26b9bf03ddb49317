"""A script that measures the backbone of another checkout; :mod:`mvit_det.benchmark.checkout` starts it.

Its argument is the file descriptor of a connection to the parent process. The other checkout comes first
in ``PYTHONPATH``, so ``import mvit_det`` imports that one. Files of this checkout are loaded by their paths.
"""

import importlib
import importlib.util
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

PACKAGE = Path(__file__).parents[1]


def serve(connection: Connection) -> None:
    """Build the model that the first message describes, then answer each further message with a measurement.

    Each reply is a pair: whether an error occurred, and the error message or the measurement. Returns when
    the parent process closes the connection, or after an error.
    """
    try:
        model = _build(*connection.recv())
        reply = None
        while True:
            connection.send((False, reply))
            quantity, case = connection.recv()
            reply = model.measure(quantity, MEASURE.Case(*case))
    except EOFError:
        pass
    except Exception as error:
        connection.send((True, " ".join(f"{type(error).__name__}: {error}".split())))


def _build(
    root: str,
    num_threads: int,
    keep_freed_memory: bool,
    variant: str,
    keywords: dict[str, Any],
    weights: str,
    device: str,
) -> Any:
    torch.set_num_threads(num_threads)
    if keep_freed_memory:
        _load("ops/allocator.py").keep_freed_memory()
    mvit_det = importlib.import_module("mvit_det")
    assert Path(root) in Path(str(mvit_det.__file__)).parents, f"imported {mvit_det.__file__}"
    model = mvit_det.build_mvit(variant, **keywords)
    model.load_state_dict(torch.load(weights), strict=True)
    return MEASURE.LocalModel(model.to(device))


def _load(path: str) -> ModuleType:
    """Load a file of this checkout that imports no other file of it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, PACKAGE / path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MEASURE = _load("benchmark/measure.py")

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process reports the interrupt
    serve(Connection(int(sys.argv[1])))
