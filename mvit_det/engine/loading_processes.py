"""What a loading process does if it cannot send a batch to the process that waits for it."""

from multiprocessing.queues import Queue
from typing import Any

from torch._utils import ExceptionWrapper


def prepare_loading_process(worker_id: int = 0) -> None:
    """Let a loading process send the error in place of a batch that it cannot send.

    This is a ``worker_init_fn`` for a ``DataLoader``. Python sends the batches from a thread, which only
    prints its errors, so that the run would wait forever, for example if the shared memory is full.
    """
    Queue._on_queue_feeder_error = _send_error  # type: ignore[attr-defined]


def _send_error(queue: Any, error: Exception, item: tuple[int, Any]) -> None:
    # ExceptionWrapper stores the exception that is being handled. The receiving process raises it.
    index, _ = item
    queue.put((index, ExceptionWrapper(where="while sending a batch")))
