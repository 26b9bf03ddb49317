"""The memory allocator of the C library."""

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system.

    On a CPU, page faults took a sixth of a training step; see docs/performance.md. With another C library,
    this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: never map a large block separately
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: return nothing below 2 GiB
