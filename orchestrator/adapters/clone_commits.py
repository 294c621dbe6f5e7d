"""Takes the commits that an agent made in its clone into the mirror, without git ever opening that clone.

The refs are read here, as text. Git reads the objects alone, through a repository of ours that borrows them, and checks
each one: no configuration, hook or pointer of the agent's is looked at.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from orchestrator.adapters.files import remove_tree, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import fetch_ref
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.mirrors import init_bare, is_kept, object_format
from orchestrator.adapters.reading import safe_read, size_text
from orchestrator.errors import HostileFileError, RefusedError

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_REFS = 100
_MAX_PACKED_REFS_BYTES = 16 * 2**20
_FETCH_SECONDS = 180.0
"""For all commits of a clone together."""
# Derived files of the agent's that would be believed instead of the objects.
_SHADOW_CONFIG = """\
[core]
\tcommitGraph = false
\tmultiPackIndex = false
[pack]
\tuseBitmaps = false
\tuseSparse = false
"""


@dataclass(frozen=True, slots=True)
class CloneCommits:
    """Commits of a clone that the mirror now holds."""

    head: str | None = None
    others: tuple[str, ...] = ()
    """Tips of other branches, and the stash."""


def fetch_clone_commits(
    mirror: Git, clone: Path, shadow: Path, *, given: Collection[str] = (), max_bytes: int, notes: list[str]
) -> CloneCommits:
    """Bring what HEAD, the branches and the stash of `clone` name into the mirror, where it is not there already.

    `given` are commits that are known to be there. `shadow` is a path outside the agent's reach for the borrowing
    repository. What cannot be taken is told in `notes`.
    """
    dot_git = clone / ".git"
    if not (_is_folder(dot_git) and _is_folder(dot_git / "objects")):
        notes.append("The repository in the tree was removed or replaced: commits made in it were not taken.")
        return CloneCommits()
    head, others = _read_tips(dot_git, notes)
    tips = [oid for oid in dict.fromkeys((head, *others)) if oid]
    known = {oid for oid in tips if oid in given or is_kept(mirror, oid)}
    wanted = [oid for oid in tips if oid not in known]
    if wanted:
        try:
            _refuse_objects(dot_git / "objects", mirror.git_dir / "objects", max_bytes)
        except RefusedError as error:
            notes.append(f"The agent's own commits were not taken: {error.message}.")
            return CloneCommits(head if head in known else None)
        wanted = _fetch(mirror, dot_git / "objects", shadow, wanted, notes)
    taken = known | set(wanted)
    return CloneCommits(head if head in taken else None, tuple(oid for oid in others if oid in taken and oid != head))


def read_tips(clone: Path, notes: list[str]) -> set[str] | None:
    """What HEAD, the branches and the stash of `clone` name; None if that cannot be told."""
    dot_git = clone / ".git"
    if not (_is_folder(dot_git) and _is_folder(dot_git / "objects")):
        return None
    head, others = _read_tips(dot_git, notes)
    return {head, *others} if head else None


def _fetch(mirror: Git, objects: Path, shadow: Path, wanted: list[str], notes: list[str]) -> list[str]:
    """Those of `wanted`, HEAD first, that are in the mirror afterwards."""
    remove_tree(shadow)
    try:
        git = init_bare(shadow, object_format(mirror))
        config = (shadow / "config").read_text() + _SHADOW_CONFIG
        write_atomic(shadow / "config", config.encode(), sync=False)
        (shadow / "objects" / "info").mkdir(exist_ok=True)
        borrowed = f"{objects}\n{mirror.git_dir / 'objects'}\n"
        write_atomic(shadow / "objects" / "info" / "alternates", os.fsencode(borrowed), sync=False)
        (shadow / "refs" / "heads").mkdir(exist_ok=True)
        for number, oid in enumerate(wanted):
            write_atomic(shadow / "refs" / "heads" / f"own-{number}", f"{oid}\n".encode(), sync=False)
        names = [f"refs/heads/own-{number}" for number in range(len(wanted))]
        _fetch_in_time(mirror.bare(), git.git_dir, names, notes)
    finally:
        remove_tree(shadow)
    return [oid for oid in wanted if rev_parse(mirror, f"{oid}^{{commit}}") == oid]


def _fetch_in_time(mirror: Git, source: Path, names: list[str], notes: list[str]) -> None:
    """Bring all of `names`, or else each that can be brought in the time that is left. The caller looks what came."""
    deadline = time.monotonic() + _FETCH_SECONDS
    try:
        fetch_ref(replace(mirror, timeout=_FETCH_SECONDS), source, names)
        return
    except GitError as error:
        notes.append(f"Not all of the agent's own commits could be taken: {error.message}")
    for name in names:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        with suppress(GitError):  # Told once already.
            fetch_ref(replace(mirror, timeout=left), source, [name])


def _read_tips(dot_git: Path, notes: list[str]) -> tuple[str | None, list[str]]:
    packed = _read_packed(dot_git)
    head = _read_text(dot_git, "HEAD", 1024).strip()
    if head.startswith("ref: "):
        name = head.removeprefix("ref: ").strip()
        head = _read_ref(dot_git, name) or packed.get(name, "")
    if not _OID.fullmatch(head):
        notes.append("The HEAD of the tree's repository names no commit: commits made there were not taken as such.")
        head = ""
    tips = {name: oid for name, oid in packed.items() if name.startswith("refs/heads/") or name == "refs/stash"}
    for name in ("refs/stash", *_loose_branches(dot_git)):
        if oid := _read_ref(dot_git, name):
            tips[name] = oid
    if len(tips) > _MAX_REFS:
        notes.append(f"The tree's repository has {len(tips)} branches; {_MAX_REFS} of them were looked at.")
    return head or None, list(tips.values())[:_MAX_REFS]


def _read_ref(dot_git: Path, name: str) -> str:
    if not name.startswith("refs/") or any(part in ("", ".", "..") for part in name.split("/")):
        return ""
    oid = _read_text(dot_git, name, 1024).strip()
    return oid if _OID.fullmatch(oid) else ""


def _read_packed(dot_git: Path) -> dict[str, str]:
    refs = {}
    for line in _read_text(dot_git, "packed-refs", _MAX_PACKED_REFS_BYTES).splitlines():
        oid, _, name = line.partition(" ")
        if _OID.fullmatch(oid):
            refs[name] = oid
    return refs


def _loose_branches(dot_git: Path) -> Iterator[str]:
    heads = dot_git / "refs" / "heads"
    if not (_is_folder(dot_git / "refs") and _is_folder(heads)):
        return
    names = (entry.path for entry in _walk(heads, strict=False) if not entry.is_dir(follow_symlinks=False))
    for path in islice(names, 10 * _MAX_REFS):
        yield os.path.relpath(path, dot_git)


def _read_text(dot_git: Path, name: str, max_bytes: int) -> str:
    """A small plain file below `dot_git`, "" for anything else. Follows no link and waits for no pipe."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        if not _is_folder(dot_git.joinpath(*parts[:count])):
            return ""
    try:
        fd = os.open(dot_git / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            return ""
        return file.read(max_bytes).decode("utf-8", "surrogateescape")


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _refuse_objects(objects: Path, borrowed: Path, max_bytes: int) -> None:
    """Raise RefusedError if the objects of a clone are too much, or lead git anywhere but to plain files in there.

    Git would wait for ever for who writes into a pipe, and take from elsewhere what no limit has counted. `borrowed`
    are the objects that the clone was given to borrow from.
    """
    size = 0
    try:
        for entry in _walk(objects, strict=True):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                size += status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                raise RefusedError(f"{os.path.relpath(entry.path, objects)[:80]} in its objects is no plain file")
        alternates = _read_alternates(objects)
    except (OSError, HostileFileError) as error:
        raise RefusedError("its objects cannot be looked at") from error
    if alternates.strip() not in (b"", os.fsencode(borrowed)):
        raise RefusedError("its objects are borrowed from elsewhere")
    if size > max_bytes:
        raise RefusedError(f"they hold {size_text(size)}")


def _read_alternates(objects: Path) -> bytes:
    try:
        return safe_read(objects / "info" / "alternates").data
    except FileNotFoundError:
        return b""


def _walk(top: Path, *, strict: bool) -> Iterator[os.DirEntry[str]]:
    """Everything below `top`, however deep; no link is followed.

    Raises OSError for a folder that cannot be listed if `strict`: git may open by name what is in there.
    """
    pending = [os.fspath(top)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                entries = list(found)
        except OSError:
            if strict:
                raise
            continue
        yield from entries
        pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
