"""Walks a tree that an agent has left: makes it readable, and removes what git neither sees nor can store.

No link is ever followed. A folder in which nothing unusual was found is not listed again as long as it has not changed:
a name can come, go or be replaced in it only with its change time (ctime), which no program can set.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.adapters.files import remove_tree, write_atomic
from orchestrator.adapters.reading import safe_read
from orchestrator.errors import InvalidFileError

SETTLED_NS = 2_000_000_000
"""A folder that changed later than this before the walk may change once more with the same time: it is not noted."""

_READ_BY_GIT = (".gitignore", ".gitattributes", ".gitmodules")


def is_real_folder(path: Path) -> bool:
    """Whether `path` is a folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def is_file_or_link(path: Path) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def open_up(root: Path, notes: list[str], *, known: Path) -> None:
    """Open every folder below `root` for us, and remove pipes with names that git would open and wait for.

    Files that we may not read are opened when they are taken: see `make_readable`.
    """
    lost: list[str] = []
    for path, entry in find_unusual(root, known=known, lost=lost):
        if entry.name.casefold() not in _READ_BY_GIT:
            continue
        if entry.is_file(follow_symlinks=False):
            make_readable(root / path)
        elif _is_special(entry):
            _remove_below(root, path)
            notes.append(f"{path} was a pipe or a device: it was removed.")
    notes += [f"{path[:80]} cannot be read (it may lie too deep): what is in it was left out." for path in lost]


def make_readable(path: str | Path) -> bool:
    """Give ourselves the right to read a file that an agent took it from; False if there is none in our reach.

    No link is followed.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return False
    mode = status.st_mode
    if stat.S_ISREG(mode) and not mode & stat.S_IRUSR and status.st_nlink == 1:
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRUSR)
    return True


def sweep(root: Path, keep: tuple[str, ...], *, known: Path) -> None:
    """Remove what `git clean` does not see: pipes, sockets, devices, and every `.git` outside the kept folders."""
    for path, entry in find_unusual(root, known=known, top_git=True):
        if entry.name.casefold() == ".git":
            if not _is_kept(path, keep):
                remove_tree(root / path)
        elif _is_special(entry):
            _remove_below(root, path)


def _remove_below(root: Path, path: str) -> None:
    with _opened(root) as top:
        os.unlink(path, dir_fd=top)


def _is_special(entry: os.DirEntry[str]) -> bool:
    # The folder says what each of its entries is, so none is looked at itself: a tree has tens of thousands.
    known = (entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False), entry.is_symlink())
    return not any(known)


def _is_kept(path: str, keep: tuple[str, ...]) -> bool:
    folders = path.split("/")[:-1]
    above = ["/".join(folders[: count + 1]) for count in range(len(folders))]
    for pattern in (each.rstrip("/") for each in keep):
        anchored = pattern.lstrip("/")
        if anchored in above or ("/" not in pattern and pattern in folders):
            return True
    return False


def find_unusual(
    root: Path, *, known: Path, top_git: bool = False, lost: list[str] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What is below `root` and is no plain file, folder or link, or has a name that begins with `.git`: its path there.

    Folders are opened for us first; the tree's own `.git` is left out unless asked for. An entry is yielded before its
    folder is entered, and may be removed by then. The path of a folder that cannot be listed (nested deeper than a path
    can say, for one) is added to `lost`. The file `known`, out of the agent's reach, remembers plain folders.
    """
    before, seen = _read_folders(known), dict[str, _Folder]()
    settled = time.time_ns() - SETTLED_NS
    pending = [""]
    # Git names everything from the top of the tree, so it reaches what has a longer path than the system takes.
    with _opened(root) as top:
        while pending:
            folder = pending.pop()
            try:
                found, unusual = _look_into(top, folder, before.get(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue  # Removed by the caller.
            except OSError:
                if lost is not None:
                    lost.append(folder)
                continue
            if not unusual and found[1] < settled:
                seen[folder] = found
            skipped = "" if folder or top_git else ".git"
            above = f"{folder}/" if folder else ""
            for entry in unusual:
                if entry.name != skipped and _is_there(top, f"{above}{entry.name}"):
                    yield f"{above}{entry.name}", entry
            pending += [f"{above}{each}" for each in found[2] if each != skipped]
    if seen != before:
        text = json.dumps({"folders": seen}, separators=(",", ":"))
        write_atomic(known, text.encode(), mode=0o600, sync=False)


def _look_into(top: int, folder: str, known: _Folder | None) -> tuple[_Folder, list[os.DirEntry[str]]]:
    """One folder, and what is unusual in it; it is not listed if it is still the plain one that is `known`."""
    status = os.stat(folder or ".", dir_fd=top, follow_symlinks=False)
    facts = (status.st_ino, status.st_ctime_ns)
    if known is not None and known[:2] == facts and stat.S_ISDIR(status.st_mode):
        return known, []
    below, unusual = list[str](), list[os.DirEntry[str]]()
    with _opened(folder or ".", top) as place, os.scandir(place) as entries:
        for entry in entries:  # Tens of thousands: nothing is asked of the system for a plain one.
            is_folder = entry.is_dir(follow_symlinks=False)
            is_named = entry.name[:1] == "." and entry.name[:4].casefold() == ".git"
            if is_named or not (is_folder or entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                unusual.append(entry)
            if is_folder:
                below.append(entry.name)
    return (*facts, tuple(below)), unusual


@contextmanager
def _opened(folder: str | Path, above: int | None = None) -> Iterator[int]:
    """A folder, also one that the agent has taken from us the right to read."""
    mode = os.stat(folder, dir_fd=above, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(folder, stat.S_IMODE(mode) | stat.S_IRWXU, dir_fd=above)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_there(top: int, path: str) -> bool:
    """Whether a path below the folder `top` can be said, for us and for git."""
    try:
        os.stat(path, dir_fd=top, follow_symlinks=False)
    except OSError:
        return False
    return True


_Folder = tuple[int, int, tuple[str, ...]]
"""A plain folder: its inode, its change time in nanoseconds, and the names of the folders in it."""


def _read_folders(known: Path) -> dict[str, _Folder]:
    """What earlier walks found, by path below the root; nothing if that cannot be read."""
    try:
        folders = json.loads(safe_read(known, max_bytes=64 * 2**20).data)["folders"]
        return {str(name): (int(ino), int(when), tuple(below)) for name, (ino, when, below) in folders.items()}
    except (OSError, InvalidFileError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # Only a memory: without it everything is looked at.
