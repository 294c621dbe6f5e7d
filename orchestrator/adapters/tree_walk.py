"""Walks a tree that an agent has left: makes it readable, and removes what git neither sees nor can store.

No link is ever followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestrator.adapters.files import remove, remove_tree

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


def open_up(root: Path, notes: list[str]) -> None:
    """Make all below `root` readable for us, and remove pipes with names that git would open and wait for."""
    lost: list[str] = []
    for entry, status in walk(root, lost=lost):
        mode = status.st_mode
        if stat.S_ISREG(mode) and not mode & stat.S_IRUSR and status.st_nlink == 1:
            os.chmod(entry.path, stat.S_IMODE(mode) | stat.S_IRUSR)
        elif entry.name.casefold() in _READ_BY_GIT and _is_special(mode):
            remove(Path(entry.path))
            notes.append(f"{os.path.relpath(entry.path, root)} was a pipe or a device: it was removed.")
    notes += [f"{path[:80]} cannot be read (it may lie too deep): what is in it was left out." for path in lost]


def sweep(root: Path, keep: tuple[str, ...]) -> None:
    """Remove what `git clean` does not see: pipes, sockets, devices, and every `.git` outside the kept folders."""
    for entry, status in walk(root, top_git=True):
        mode = status.st_mode
        if entry.name.casefold() == ".git":
            if not _is_kept(os.path.relpath(entry.path, root), keep):
                remove_tree(Path(entry.path))
        elif _is_special(mode):
            remove(Path(entry.path))


def _is_special(mode: int) -> bool:
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))


def _is_kept(path: str, keep: tuple[str, ...]) -> bool:
    folders = path.split("/")[:-1]
    above = ["/".join(folders[: count + 1]) for count in range(len(folders))]
    for pattern in (each.rstrip("/") for each in keep):
        anchored = pattern.lstrip("/")
        if anchored in above or ("/" not in pattern and pattern in folders):
            return True
    return False


def walk(
    root: Path, *, top_git: bool = False, lost: list[str] | None = None
) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Everything below `root`, folders opened for us first; the tree's own `.git` is left out unless asked for.

    An entry is yielded before its folder is entered, and may be removed by then. The name of a folder that cannot be
    listed (nested deeper than a path can say, for one) is added to `lost`.
    """
    pending = [os.fspath(root)]
    while pending:
        folder = pending.pop()
        try:
            entries = _list_opened(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue  # Removed by the caller.
        except OSError:
            if lost is not None:
                lost.append(os.path.relpath(folder, root))
            continue
        for entry in entries:
            if folder == os.fspath(root) and entry.name == ".git" and not top_git:
                continue
            with suppress(OSError):  # A name too long for a path: its folder is just as far out of git's reach.
                yield entry, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def _list_opened(folder: str) -> list[os.DirEntry[str]]:
    status = os.lstat(folder)
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(folder, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
    with os.scandir(folder) as found:
        return list(found)
