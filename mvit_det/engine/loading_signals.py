"""How a loading process handles the signals that a terminal or a job system sends to all processes."""

import os
import signal
import threading
import time

from mvit_det.engine.children import SIGNALS


def leave_signals_to_parent(time_limit: float) -> None:
    """Keep signals from ending this loading process before its parent process ends it.

    If they ended it, the parent would fail in the middle of a step.

    Args:
        time_limit: seconds from a SIGTERM of another process than the parent until this process ends.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    # Blocked, because torch.utils.data sets a handler of its own later.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    arguments = (os.getppid(), time_limit)
    threading.Thread(target=_wait_for_sigterm, args=arguments, name="end-worker", daemon=True).start()


def _wait_for_sigterm(parent: int, time_limit: float) -> None:
    """End this process on SIGTERM: at once if its parent sent it, else after a time limit."""
    if signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        time.sleep(time_limit)
    os._exit(0)
