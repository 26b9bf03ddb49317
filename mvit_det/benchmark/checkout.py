"""Measures the backbone of another checkout of this project in a worker process.

Both checkouts contain a package named ``mvit_det``, and a process can import only one of them.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from mvit_det.benchmark.measure import Case
from mvit_det.errors import InputError

WORKER = Path(__file__).with_name("checkout_worker.py")


class CheckoutModel:
    """A model of another checkout; a context manager that ends the worker process on exit.

    The worker uses the measuring functions of this checkout, the same number of threads and the same random
    images.

    Args:
        root: folder that contains the other ``mvit_det``.
        variant: first argument of that checkout's ``build_mvit``.
        keywords: further keywords of ``build_mvit``.
        ours: model of this checkout; its weights are copied into the other model.
        device: ``"cpu"`` or ``"cuda"``.
        keep_freed_memory: whether the worker calls :func:`mvit_det.ops.allocator.keep_freed_memory`.

    Raises:
        InputError: if the folder does not contain the package, or if its model cannot be built.
    """

    def __init__(
        self,
        root: Path,
        variant: str,
        keywords: Mapping[str, Any],
        ours: nn.Module,
        device: str,
        keep_freed_memory: bool,
    ) -> None:
        if not (root / "mvit_det" / "__init__.py").is_file():
            raise InputError(
                f"checkout {root}: has no mvit_det/__init__.py, expected the folder of a checkout"
            )
        self.root = root.resolve()
        paths = filter(None, (str(self.root), os.environ.get("PYTHONPATH")))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        self._connection, worker_end = Pipe()
        # -P keeps the script's own folder out of the worker's sys.path.
        command = [sys.executable, "-P", str(WORKER), str(worker_end.fileno())]
        self._process = subprocess.Popen(command, env=environment, pass_fds=[worker_end.fileno()])
        worker_end.close()
        try:
            with tempfile.TemporaryDirectory() as folder:
                weights = os.path.join(folder, "weights.pt")
                torch.save(ours.state_dict(), weights)
                settings = (str(self.root), torch.get_num_threads(), keep_freed_memory)
                self._request(*settings, variant, {"drop_path_rate": 0.0, **keywords}, weights, device)
        except BaseException:
            self._close()
            raise

    def measure(self, quantity: str, case: Case) -> float | str:
        """Implement :meth:`mvit_det.benchmark.measure.MeasuredModel.measure`.

        Raises:
            InputError: if the model cannot run, or if the worker process has ended.
        """
        return self._request(quantity, tuple(case))

    def __enter__(self) -> "CheckoutModel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _request(self, *message: Any) -> Any:
        """Send a message to the worker, and return its reply."""
        try:
            self._connection.send(message)
            is_error, reply = self._connection.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait()
            raise InputError(f"checkout {self.root}: its process ended with status {status}") from error
        if is_error:
            raise InputError(f"checkout {self.root}: {reply}")
        return reply

    def _close(self) -> None:
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()
