"""Changes files on disk: atomic writes, flushes, moves, removals.

The only file that renames or flushes. It knows nothing of jobs or YAML, and it never follows a link to a file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.adapters.reading import Signature, signature

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_RECURSION = 64


# --- writing ---


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Put `data` at `path` in one step: a reader, or a crash, sees the old content or the new, never a part.

    With `sync` it also survives a power cut once this returns. `mode` is subject to the umask. Raises
    OSError; unless it was the flush of the folder that failed, the old content then stands.
    """
    temporary = path.with_name(f".tmp-{os.urandom(6).hex()}-{path.name[:40]}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            _write_all(fd, data)
            if sync:
                _flush(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_folder(path.parent)


def write_in_place(path: Path, data: bytes) -> None:
    """Replace the content of a file that is there: for who may not make another one. A reader may see a part of it."""
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _write_all(fd, data)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def ring(folder: Path, name: str) -> None:
    """Touch `name` in `folder`, making both if need be: whoever watches the folder wakes up."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"not a file name: {name!r}")
    ensure_folder(folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(folder / name, flags, 0o644)
    try:
        os.utime(fd)
    finally:
        os.close(fd)


def ensure_folder(path: Path) -> None:
    """Make a folder and its parents. Raises FileExistsError if something else has the name."""
    path.mkdir(parents=True, exist_ok=True)


# --- flushing ---


def _flush(fd: int) -> None:
    # A failed flush is never tried again: the kernel may have marked the lost pages clean, so that a second
    # try reports a success that is not one. The content must be written anew to another file, or the program
    # must stop.
    full_flush = getattr(fcntl, "F_FULLFSYNC", None)
    if full_flush is not None:  # macOS, where fsync leaves the data in the drive's cache
        fcntl.fcntl(fd, full_flush)
    else:
        os.fsync(fd)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to disk. Raises OSError; see `_flush` for why nobody may retry it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_name(path: Path) -> None:
    """Flush a file with its name: from now on it is there, whatever happens. Raises OSError; never to be retried."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _flush(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def sync_filesystem(path: Path) -> None:
    """Flush all that was written to the file system holding `path`. Raises OSError; never to be retried."""
    syncfs = getattr(_libc(), "syncfs", None) if sys.platform == "linux" else None
    if syncfs is None:
        os.sync()
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if syncfs(fd) != 0:
            raise _last_c_error(path)
    finally:
        os.close(fd)


@lru_cache(maxsize=1)
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _last_c_error(path: Path) -> OSError:
    import ctypes

    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), str(path))


def machine_start() -> str:
    """A name for the time since the machine came up; "" where the system tells none.

    What was written before, and never flushed, may be empty or gone by now, though its name is there.
    """
    try:
        # As bytes: a run has not loaded the codec, and asks several times.
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().decode("ascii").strip()
    except OSError:
        return ""


# --- moving ---


def move_no_replace(src: Path, dst: Path) -> None:
    """Give `src` the name `dst` on the same file system. Links are moved, not followed; nothing is flushed.

    Raises FileExistsError if `dst` exists in any form, FileNotFoundError if `src` does not.
    """
    # One system call where there is one: a crash between link and unlink leaves a file with two names, which
    # `safe_read` has to refuse as a hard link.
    if _rename_exclusively(src, dst):
        return
    try:
        os.link(src, dst, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _LINK_UNSUPPORTED:
            raise
    else:
        _unlink_moved(src, dst)
        return
    # Links are not supported here (or `src` is a folder). The check leaves a gap; nothing better exists.
    if os.path.lexists(dst):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(dst))
    os.rename(src, dst)


_LINK_UNSUPPORTED = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EISDIR}
_RENAME_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def _rename_exclusively(src: Path, dst: Path) -> bool:
    """Rename by Linux's `renameat2`; False where the kernel or the file system has no such call."""
    rename = getattr(_libc(), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(src), _AT_FDCWD, os.fsencode(dst), _RENAME_NOREPLACE) == 0:
        return True
    error = _last_c_error(src)
    if error.errno in _RENAME_UNSUPPORTED:
        return False
    if error.errno == errno.EEXIST:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(dst))
    raise error


def _unlink_moved(src: Path, dst: Path) -> None:
    try:
        os.unlink(src)
    except OSError:
        with suppress(OSError):
            os.unlink(dst)
        raise


def rename_folder(src: Path, dst: Path, *, sync: bool = True) -> None:
    """Give a folder its final name in one step. Raises OSError if something with content stands there.

    Without `sync` a power cut may take the new name back.
    """
    os.rename(src, dst)
    if sync:
        sync_folder(dst.parent)


def swap_through_lock(path: Path, old: str, new: str, beside: Path) -> bool:
    """Replace the one line of a small file the way git replaces a ref: whoever has `<path>.lock` may write it.

    `beside` is a file name of the caller's alone in the same file system: the lock is a second name of it, so that
    `free_lock_of` knows the lock of a killed caller. False, and nothing changed, if somebody else has the lock, if the
    line is not `old`, or if anything else is unusual. The content is flushed, the name is not.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write_all(fd, f"{new}\n".encode("ascii"))
            _flush(fd)
        finally:
            os.close(fd)
        os.link(beside, lock)
    except OSError:
        return False
    try:
        is_old = path.read_bytes() == f"{old}\n".encode("ascii")
        if is_old:
            os.rename(lock, path)
    except OSError:
        is_old = False
    if not is_old:
        lock.unlink(missing_ok=True)
    beside.unlink(missing_ok=True)
    return is_old


def free_lock_of(lock: Path, beside: Path) -> None:
    """Remove a lock that `swap_through_lock` of a killed process left. Whoever calls it must keep others from both."""
    first, second = signature(lock), signature(beside)
    if first is not None and first == second:
        lock.unlink(missing_ok=True)


# --- removing ---


def remove_if_unchanged(path: Path, expected: Signature) -> bool:
    """Remove `path` if it still has the signature `expected`; True if it was removed.

    Somebody who replaces the file between the look and the removal, some microseconds, still loses.
    """
    if signature(path) != expected:
        return False
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file or a link; nothing there is fine."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it, read-only folders and any depth included; nothing there is fine.

    Links are removed, never followed. Nothing may write there meanwhile. Raises OSError for what cannot be
    removed.
    """
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not is_folder:
        remove(path)
        return
    root = _open_to_empty(os.fspath(path), None)
    try:
        while _empty_folder(root, root, 0):
            pass
    finally:
        os.close(root)
    os.rmdir(path)


def _empty_folder(fd: int, root: int, depth: int) -> bool:
    """Remove all below `fd`; True if folders were hoisted to `root`, so that it has to be emptied again."""
    hoisted = False
    with os.scandir(fd) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=fd)
            continue
        child = _open_to_empty(entry.name, fd)
        try:
            if depth == _MAX_RECURSION:
                # An agent can nest folders deeper than the stack, the file descriptors and the longest path
                # reach.
                os.rename(entry.name, f".deep-{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=root)
                hoisted = True
                continue
            hoisted |= _empty_folder(child, root, depth + 1)
        finally:
            os.close(child)
        os.rmdir(entry.name, dir_fd=fd)
    return hoisted


def _open_to_empty(name: str, parent: int | None) -> int:
    """Open a real folder, made writable for us first; a link that took its place is an error."""
    try:
        fd = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    try:
        if os.fstat(fd).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(fd, 0o700)
    except OSError:
        os.close(fd)
        raise
    return fd
