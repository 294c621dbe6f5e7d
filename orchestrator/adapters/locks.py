"""Locks and leases on files: who holds one has its file open, so that it ends with its holder, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.adapters.files import ensure_folder
from orchestrator.adapters.reading import READ_FLAGS
from orchestrator.errors import BusyError

_LEASE_TRIES = 100
_LOCK_POLL_SECONDS = 0.02


@contextmanager
def hold_lock(path: Path, *, timeout: float, what: str) -> Iterator[None]:
    """Hold the lock file `path` for the length of a `with` block. The file is never removed.

    Waits `timeout` seconds (0: one try). Raises BusyError naming `what`; OSError where the file system cannot
    lock.
    """
    import filelock

    ensure_folder(path.parent)
    # A soft lock would outlive a killed holder, so there is no falling back to one. The object stays bound to
    # a name: the lock is released when it is collected.
    lock = filelock.FileLock(
        path,
        timeout=timeout,
        poll_interval=_LOCK_POLL_SECONDS,
        fallback_to_soft=False,
        preserve_lock_file=True,
    )
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BusyError(
            f"{what} is in use by another process",
            cause=f"Another orc command or engine holds {path}.",
            hint="Try again in a moment. The lock frees itself when its holder ends; do not delete the file.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def lock_is_free(path: Path) -> bool:
    """Whether nobody holds the lock file; one that does not exist is free."""
    return lease_is_free(path)


# --- leases ---


def take_lease(path: Path) -> int | None:
    """Take the lease at `path`; the file descriptor that holds it, or None if another process does.

    The lease lasts until the last copy of the descriptor is closed, in whichever process: pass it to a child
    (`pass_fds`), close it here, and the lease lives exactly as long as the child. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    for _ in range(_LEASE_TRIES):
        fd = os.open(path, flags, 0o600)
        kept = False
        try:
            if not _try_flock(fd, fcntl.LOCK_EX):
                return None
            kept = lease_stands(fd, path)  # If not, it was replaced before it was locked, and guards no name.
            if kept:
                return fd
        finally:
            if not kept:
                os.close(fd)
    raise BlockingIOError(errno.EAGAIN, "the lease file is replaced again and again", str(path))


def lease_is_free(path: Path) -> bool:
    """Whether nobody holds the lease at `path`; a missing file is free. Leaves it as it was.

    For the instant of the look, `take_lease` in another process is told that the lease is held.
    """
    flags = READ_FLAGS
    while True:
        try:
            fd = os.open(path, flags)
        except (FileNotFoundError, NotADirectoryError):
            return True
        try:
            # Shared, so that two processes that look do not see each other.
            if not _try_flock(fd, fcntl.LOCK_SH):
                return False
            if lease_stands(fd, path):
                return True
        finally:
            os.close(fd)


def lease_stands(fd: int, path: Path) -> bool:
    """Whether the file held by `fd` is still the one at `path`; if not, somebody removed or replaced it."""
    held = os.fstat(fd)
    try:
        named = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return held.st_nlink > 0 and (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)


def release_lease(fd: int) -> None:
    """Close this process's copy of the descriptor; the lease is free once no process has one."""
    os.close(fd)


def _try_flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
