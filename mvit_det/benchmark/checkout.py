"""The backbone of another checkout of this project, measured in a worker process.

Both checkouts hold a package named ``mvit_det``, and one process can import only one of them.
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


class CheckoutSide:
    """A context manager that starts the worker, and ends it on exit.

    The worker measures time and memory by itself, with the functions of this checkout, the same number of
    threads and the same random images.

    Args:
        root: folder that contains the other ``mvit_det``.
        variant: a name for that checkout's ``build_mvit``.
        keywords: further keywords for it.
        ours: model whose weights the other one gets.
        device: ``"cpu"`` or ``"cuda"``.
        keep_freed_memory: whether the worker keeps freed memory, see :mod:`mvit_det.ops.allocator`.

    Raises:
        InputError: if the folder holds no such package, or if its model cannot be built or run.
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
        self.root = check_root(root)
        paths = filter(None, (str(self.root), os.environ.get("PYTHONPATH")))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        self._connection, theirs = Pipe()
        # -P keeps the folder of the script out of the worker's sys.path.
        command = [sys.executable, "-P", str(WORKER), str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
        theirs.close()
        try:
            with tempfile.TemporaryDirectory() as folder:
                weights = os.path.join(folder, "weights.pt")
                torch.save(ours.state_dict(), weights)
                keywords = {"drop_path_rate": 0.0, **keywords}
                settings = (str(self.root), torch.get_num_threads(), keep_freed_memory)
                self._request(*settings, variant, {"drop_path_rate": 0.0, **keywords}, weights, device)
        except BaseException:
            self.close()
            raise

    def measure(self, quantity: str, case: Case) -> float | str:
        return self._request(quantity, tuple(case))

    def close(self) -> None:
        """End the worker."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "CheckoutSide":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, *message: Any) -> Any:
        try:
            self._connection.send(message)
            is_error, reply = self._connection.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait()
            raise InputError(f"checkout {self.root}: its process ended with status {status}") from error
        if is_error:
            raise InputError(f"checkout {self.root}: {reply}")
        return reply


def check_root(root: Path) -> Path:
    """Return the absolute path of a checkout.

    Raises:
        InputError: if it holds no package ``mvit_det``.
    """
    if not (root / "mvit_det" / "__init__.py").is_file():
        raise InputError(f"checkout {root}: has no mvit_det/__init__.py, expected the folder of a checkout")
    return root.resolve()
