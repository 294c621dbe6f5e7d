"""Files on disk: safe reads, atomic writes, moves, flushes, locks and leases.

The only file that renames, flushes or locks. It knows nothing of jobs or YAML, and it never follows a link to
a file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.errors import BusyError, HostileFileError

DEFAULT_MAX_BYTES = 262_144
"""The largest file that a person or an agent may hand in, in bytes."""

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_TRIES = 3
_LEASE_TRIES = 100
_LOCK_POLL_SECONDS = 0.02
_MAX_RECURSION = 64


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies one state of one file: the same signature means that nobody replaced or rewrote it."""

    device: int
    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The content of a file, and the signature that it had when it was read."""

    data: bytes
    signature: Signature


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder. `is_file` is true for a regular file only, never for a link to one.

    `was_moved`: the last thing that happened to it was no write. So it is when a file is written under another name and
    then renamed; where times are coarse, that may not show.
    """

    name: str
    signature: Signature
    is_file: bool
    was_moved: bool = False


def _sign(status: os.stat_result) -> Signature:
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def signature(path: Path) -> Signature | None:
    """The signature of `path` itself (a link is not followed); None if nothing is there."""
    try:
        return _sign(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


# --- reading ---


def safe_read(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> ReadFile:
    """The content of a regular file that may come from anybody.

    Never follows a link, never waits for a pipe. Raises HostileFileError with a reason for people,
    FileNotFoundError, and OSError when the machine is at fault (no file descriptors left, disk error).
    """
    try:
        # Looked at before it is opened: opening some devices has effects. Looked at again once open: it may
        # be swapped.
        _refuse_hostile(os.lstat(path), path, max_bytes)
        fd = os.open(path, _READ_FLAGS)
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except ValueError as error:
        raise HostileFileError("has a NUL character in its name", file=_show(path)) from error
    except OSError as error:
        reason = _OPEN_REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise HostileFileError(reason, file=_show(path)) from error
    try:
        return _read_settled(fd, path, max_bytes)
    finally:
        os.close(fd)


def _show(path: Path) -> str:
    """A path that can be printed and stored, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\0", "\\0")


_OPEN_REASONS = {
    errno.ELOOP: "is a symbolic link",
    errno.ENXIO: "is a socket or a pipe",
    errno.EACCES: "cannot be read: permission denied",
    errno.EPERM: "cannot be read: permission denied",
    errno.ENAMETOOLONG: "has a name that is too long",
}

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISLNK, "is a symbolic link"),
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)


def _refuse_hostile(status: os.stat_result, path: Path, max_bytes: int) -> None:
    reason, hint = _hostile_reason(status, max_bytes)
    if reason:
        raise HostileFileError(reason, file=_show(path), hint=hint)


def _hostile_reason(status: os.stat_result, max_bytes: int) -> tuple[str, str]:
    """Why a file is refused, and what to do about it; empty strings if it is not."""
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            return words, "Put a plain file there."
    if not stat.S_ISREG(status.st_mode):
        return "is not a plain file", "Put a plain file there."
    if status.st_nlink > 1:
        return "is a hard link: the same file has another name too", "Put a copy of it there instead."
    if status.st_uid not in (os.geteuid(), 0):
        return f"belongs to another user (uid {status.st_uid})", "Put a copy of your own there."
    if status.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(status.st_mode)
        return f"can be changed by every user of this machine (mode {mode:04o})", "Run chmod o-w on it."
    if status.st_size > max_bytes:
        return f"is {size_text(status.st_size)}; at most {size_text(max_bytes)} is read", "Make it smaller."
    return "", ""


def _read_settled(fd: int, path: Path, max_bytes: int) -> ReadFile:
    for _ in range(_READ_TRIES):
        before = os.fstat(fd)
        _refuse_hostile(before, path, max_bytes)
        os.lseek(fd, 0, os.SEEK_SET)
        data = _read_up_to(fd, before.st_size + 1)
        if len(data) == before.st_size and _sign(os.fstat(fd)) == _sign(before):
            return ReadFile(data, _sign(before))
    raise HostileFileError(
        "changes while it is being read", file=_show(path), hint="Write it under another name, then rename it."
    )


def _read_up_to(fd: int, count: int) -> bytes:
    parts = []
    while count > 0 and (part := os.read(fd, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def size_text(count: int) -> str:
    """A number of bytes for people: `3 MiB`, `1.5 KiB`, `12 bytes`."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} bytes"


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


# --- moving and removing ---


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


# --- folders ---


def ensure_folder(path: Path) -> None:
    """Make a folder and its parents. Raises FileExistsError if something else has the name."""
    path.mkdir(parents=True, exist_ok=True)


def scan(folder: Path) -> list[Entry]:
    """All that is directly in `folder`, by name; empty if there is no folder. What vanishes is left out."""
    entries = []
    try:
        with os.scandir(folder) as found:
            for item in found:
                with suppress(FileNotFoundError):
                    status = item.stat(follow_symlinks=False)
                    entries.append(_entry(item.name, status))
    except FileNotFoundError:
        return []
    return sorted(entries, key=lambda entry: entry.name)


def look_at(path: Path) -> Entry | None:
    """One entry of a folder as `scan` gives it; None if nothing is there."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _entry(path.name, status)


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, _sign(status), stat.S_ISREG(status.st_mode), status.st_ctime_ns > status.st_mtime_ns)


# --- locks ---


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
    flags = _READ_FLAGS
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


def rename_folder(src: Path, dst: Path, *, sync: bool = True) -> None:
    """Give a folder its final name in one step. Raises OSError if something with content stands there.

    Without `sync` a power cut may take the new name back.
    """
    os.rename(src, dst)
    if sync:
        sync_folder(dst.parent)


def lock_is_free(path: Path) -> bool:
    """Whether nobody holds the lock file; one that does not exist is free."""
    return lease_is_free(path)
