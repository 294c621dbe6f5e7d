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
    """Open every folder below `root` for us, and remove pipes with names that git would open and wait for.

    Files that we may not read are opened when they are taken: see `make_readable`.
    """
    lost: list[str] = []
    for entry in find_unusual(root, lost=lost):
        if entry.name.casefold() not in _READ_BY_GIT:
            continue
        if entry.is_file(follow_symlinks=False):
            make_readable(entry.path)
        elif _is_special(entry):
            remove(Path(entry.path))
            notes.append(f"{os.path.relpath(entry.path, root)} was a pipe or a device: it was removed.")
    notes += [f"{path[:80]} cannot be read (it may lie too deep): what is in it was left out." for path in lost]


def make_readable(path: str | Path) -> None:
    """Give ourselves the right to read a file that an agent took it from. No link is followed."""
    try:
        status = os.lstat(path)
    except OSError:
        return
    mode = status.st_mode
    if stat.S_ISREG(mode) and not mode & stat.S_IRUSR and status.st_nlink == 1:
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRUSR)


def sweep(root: Path, keep: tuple[str, ...]) -> None:
    """Remove what `git clean` does not see: pipes, sockets, devices, and every `.git` outside the kept folders."""
    for entry in find_unusual(root, top_git=True):
        if entry.name.casefold() == ".git":
            if not _is_kept(os.path.relpath(entry.path, root), keep):
                remove_tree(Path(entry.path))
        elif _is_special(entry):
            remove(Path(entry.path))


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


def find_unusual(root: Path, *, top_git: bool = False, lost: list[str] | None = None) -> Iterator[os.DirEntry[str]]:
    """What is below `root` and is no plain file, folder or link, or has a name that begins with `.git`.

    Folders are opened for us first; the tree's own `.git` is left out unless asked for. An entry is yielded before its
    folder is entered, and may be removed by then. The name of a folder that cannot be listed (nested deeper than a path
    can say, for one) is added to `lost`.
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
        is_top = folder == os.fspath(root) and not top_git
        for entry in entries:  # Tens of thousands: nothing is asked of the system for a plain one.
            is_folder = entry.is_dir(follow_symlinks=False)
            is_named = entry.name[:1] == "." and entry.name[:4].casefold() == ".git"
            if is_top and is_named and entry.name == ".git":
                continue
            if is_named or not (is_folder or entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                with suppress(OSError):  # A name too long for a path: its folder is just as far out of git's reach.
                    yield entry
            if is_folder:
                pending.append(entry.path)


def _list_opened(folder: str) -> list[os.DirEntry[str]]:
    status = os.lstat(folder)
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(folder, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
    with os.scandir(folder) as found:
        return list(found)
