"""The logs of a run: where they are written, and what happens to them if the disk is full."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from mvit_det.errors import RunError

LOGGERS = ("detectron2", "fvcore", "mvit_det")


def set_up_logs(folder: str) -> None:
    """Log to the terminal and to ``log.txt`` in a folder.

    The exception that ends the run is logged only in the file, because the command prints it on the terminal.
    """
    rank = comm.get_rank()
    setup_logger(folder, distributed_rank=rank)  # with the same arguments as default_setup: it is cached
    for name in LOGGERS[1:]:
        setup_logger(folder, distributed_rank=rank, name=name)
    for name in LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if getattr(handler, "stream", None) is sys.stdout:
                handler.addFilter(_is_for_terminal)


@contextmanager
def discarded_logs() -> Iterator[None]:
    """Return a context that discards what cannot be written to the log files because the disk is full."""
    raises = logging.raiseExceptions
    logging.raiseExceptions = False  # otherwise each line of the log would become a traceback
    try:
        yield
    except RunError:
        for name in LOGGERS:
            logger = logging.getLogger(name)
            for handler in list(logger.handlers):
                stream = getattr(handler, "stream", None)
                if stream not in (None, sys.stdout, sys.stderr):
                    logger.removeHandler(handler)
                    with contextlib.suppress(OSError):
                        stream.close()  # not when Python exits, because an error would then print a traceback
        raise
    finally:
        logging.raiseExceptions = raises


def _is_for_terminal(record: logging.LogRecord) -> bool:
    """Return False for the exception that ends the run, which Detectron2 logs before it raises it again."""
    return record.msg != "Exception during training:"
