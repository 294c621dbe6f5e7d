"""Looks at files and folders, and reads files that anybody may have put there.

Nothing here changes anything, follows a link to a file, or waits for a pipe. It knows nothing of jobs or YAML.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostileFileError

DEFAULT_MAX_BYTES = 262_144
"""The largest file that a person or an agent may hand in, in bytes."""
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_TRIES = 3


# --- what stands there ---


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies one state of one file: the same signature means that nobody replaced or rewrote it."""

    device: int
    inode: int
    size: int
    mtime_ns: int


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


def signature(path: Path) -> Signature | None:
    """The signature of `path` itself (a link is not followed); None if nothing is there."""
    try:
        return _sign(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


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


def _sign(status: os.stat_result) -> Signature:
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


# --- its content ---


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The content of a file, and the signature that it had when it was read."""

    data: bytes
    signature: Signature


def safe_read(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> ReadFile:
    """The content of a regular file that may come from anybody.

    Never follows a link, never waits for a pipe. Raises HostileFileError with a reason for people,
    FileNotFoundError, and OSError when the machine is at fault (no file descriptors left, disk error).
    """
    try:
        # Looked at before it is opened: opening some devices has effects. Looked at again once open: it may
        # be swapped.
        _refuse_hostile(os.lstat(path), path, max_bytes)
        fd = os.open(path, READ_FLAGS)
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
