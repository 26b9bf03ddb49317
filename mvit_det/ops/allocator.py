"""The memory allocator of the C library."""

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory: on a CPU, fetching fresh pages took a sixth of a training step."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing goes back
