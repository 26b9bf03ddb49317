"""The lock on the folder of a run, which keeps a second run from writing into it."""

import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mvit_det.errors import InputError, printable
from mvit_det.files import remove_temporary_files

LOCK = ".lock"
# Errors of file systems without locks, such as some network file systems.
NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
MAX_HOLDER = 500  # characters of the lock file that are shown

_held: set[Path] = set()  # the folders that this process has locked


@contextmanager
def run_lock(folder: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the exclusive lock on a folder, and remove the temporary files of killed processes from it.

    The folder is created if it does not exist, and removed if it stays empty.

    The lock is a POSIX record lock on a file in the folder. The system releases it when the process ends,
    however that happens. Loading processes do not inherit it, so that one of them that outlives a killed run
    does not block the next run. If the process holds the lock already, nothing happens. The file must not be
    opened while the lock is held: closing it would release the lock.

    Args:
        folder: the folder of the run.
        warn: function that prints a line. It is called if the file system has no locks; the run continues.

    Raises:
        InputError: if another process holds the lock, with a message that names the process, its machine
            and its command; or if the folder or a parent of it is a file.
    """
    key = folder.resolve()
    if key in _held:
        yield
        return
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(path for path in (folder, *folder.parents) if path.exists())
        raise InputError(f"{file}: is a file; expected a folder to write to") from None
    descriptor = _acquire(folder, warn)
    _held.add(key)
    try:
        if descriptor is not None:
            remove_temporary_files(folder)
        yield
    finally:
        _held.remove(key)
        if descriptor is not None:
            with suppress(OSError):
                (folder / LOCK).unlink()
            os.close(descriptor)
        with suppress(OSError):  # not empty
            for path in created:
                path.rmdir()


def _acquire(folder: Path, warn: Callable[[str], None]) -> int | None:
    """Lock the file, and write this process into it; return its descriptor, or None without locks."""
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, MAX_HOLDER).decode(errors="replace")
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise InputError(
                    f"{folder}: another run writes to it: {printable(holder) or 'it has just started'}; wait "
                    "until that run has ended, or choose another folder"
                ) from None
            if error.errno not in NOT_SUPPORTED:
                raise
            warn(f"{folder}: the file system has no locks: take care that no other run writes to this folder")
            return None
        if _is_file(descriptor, path):
            break
        os.close(descriptor)  # its holder removed it between the opening and the locking
    with suppress(OSError):  # a full disk: the lock is held, but does not say by whom
        os.ftruncate(descriptor, 0)
        os.write(descriptor, _describe_process().encode(errors="surrogateescape"))
    return descriptor


def _is_file(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one with this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _describe_process() -> str:
    command = shlex.join(sys.orig_argv)
    return f"process {os.getpid()} on {socket.gethostname()}: {command}"
