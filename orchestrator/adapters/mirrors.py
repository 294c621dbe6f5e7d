"""Private bare mirrors of projects: agents' clones borrow their objects, and agents' work lands in their refs.

A mirror holds what was fetched into it by name, never the ledger, and nothing prunes it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import (
    ensure_folder,
    move_no_replace,
    remove,
    remove_tree,
    sync_filesystem,
    sync_folder,
    write_atomic,
)
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import fetch_ref
from orchestrator.adapters.git_refs import rev_parse, update_ref
from orchestrator.adapters.locks import release_lease, take_lease
from orchestrator.errors import BusyError, RefusedError

LEDGER_REF = "refs/heads/orc/state"
ATTRIBUTES = b"* -filter !diff !merge -ident -working-tree-encoding -export-subst\n"
"""Wins over every `.gitattributes`: no filter or driver that a project or an agent names is ever run.

`diff` and `merge` are made unspecified, not unset: unset means binary, with no line to show and every merge a conflict.
"""
LOCK_SECONDS = 120.0
_POLL_SECONDS = 0.02


@contextmanager
def hold_lease(path: Path, *, timeout: float, what: str) -> Iterator[int]:
    """Hold a lock that the git processes started meanwhile can share: it is free once the last of them has ended.

    So what a killed process started is over before anybody else begins. Yields the file descriptor. Raises BusyError.
    """
    ensure_folder(path.parent)
    deadline = time.monotonic() + timeout
    while (fd := take_lease(path)) is None:
        if time.monotonic() > deadline:
            raise BusyError(
                f"{what} is in use by another process",
                cause=f"Another process of orc, or a git that it started, holds {path}.",
                hint="Try again in a moment. The lock frees itself when its holder ends; do not delete the file.",
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield fd
    finally:
        release_lease(fd)


@contextmanager
def locked(mirror: Git) -> Iterator[Git]:
    """Hold the lock beside the mirror, which whoever changes its refs must hold; yields a door that shares it."""
    path = mirror.git_dir.with_name(mirror.git_dir.name + ".lock")
    with hold_lease(path, timeout=LOCK_SECONDS, what=f"the mirror {mirror.git_dir.name}") as fd:
        yield replace(mirror, inherit=(*mirror.inherit, fd))


def open_mirror(path: Path, project_git_dir: Path) -> Git:
    """The mirror at `path`, made if it is not there. It is empty at first: see `refresh_mirror`. Raises GitError."""
    mirror = Git(path)
    if not (path / "HEAD").is_file():
        with effect(Effect.MIRROR_REFRESH), locked(mirror):
            if not (path / "HEAD").is_file():
                _build_mirror(path, object_format(Git(project_git_dir)))
    guard_attributes(mirror)
    return mirror


def object_format(git: Git) -> str:
    """`sha1` or `sha256`."""
    return git.text("rev-parse", "--show-object-format")


def _build_mirror(path: Path, format_: str) -> None:
    half_made = path.with_name(f".making-{path.name}")
    remove_tree(half_made)
    init_bare(half_made, format_)
    guard_attributes(Git(half_made))
    for key, value in (("gc.auto", "0"), ("maintenance.auto", "false"), ("core.logAllRefUpdates", "false")):
        Git(half_made).run("config", "--file", str(half_made / "config"), key, value)
    # git flushes neither HEAD nor the configuration; with a name but without content they would be a broken mirror.
    sync_filesystem(half_made)
    # Nothing of value is replaced: a mirror without a HEAD was never finished.
    remove_tree(path)
    move_no_replace(half_made, path)
    sync_folder(path.parent)


def init_bare(path: Path, format_: str) -> Git:
    """A new bare repository without hooks or anything else of a template."""
    ensure_folder(path.parent)
    git = Git(path)
    git.run("init", "--quiet", "--template=", f"--object-format={format_}", "--initial-branch=main")
    return git


def guard_attributes(git: Git) -> None:
    """Make sure that no attribute of a tree names a program: see `ATTRIBUTES`."""
    path = git.git_dir / "info" / "attributes"
    with suppress(OSError):
        if path.read_bytes() == ATTRIBUTES:
            return
    ensure_folder(path.parent)
    write_atomic(path, ATTRIBUTES, sync=git.durable)


def refresh_mirror(mirror: Git, project_git_dir: Path, refs: list[str]) -> None:
    """Fetch `refs` of the project into the mirror; where they differ the project's value wins.

    Each is the full name of a ref, a pattern such as `refs/orc/attempts/*`, or `source:destination`, whose source
    may be an object id. Raises RefusedError if one of them is or covers the ledger; GitError if one does not exist.
    """
    specs = [_refspec(ref) for ref in refs]
    with locked(mirror) as git:
        for spec in specs:
            _heal_ref_lock(git, spec.partition(":")[2])
        fetch_ref(git, project_git_dir, specs, forgive_old_mistakes=True)


def _refspec(ref: str) -> str:
    source, _, target = ref.removeprefix("+").partition(":")
    target = target or source
    for name in (source, target):
        pattern = ".*".join(re.escape(part) for part in name.split("*"))
        if re.fullmatch(pattern, LEDGER_REF) or name in ("orc/state", "heads/orc/state"):
            raise RefusedError(f"{ref} is the ledger, or covers it: it is never copied to where agents can read it")
    if not target.startswith("refs/"):
        raise RefusedError(f"{ref!r} is not the full name of a ref")
    return f"+{source}:{target}"


def publish_ref(mirror: Git, project_git_dir: Path, ref: str) -> None:
    """Copy `ref` from the mirror to the project's repository, under the same name. Raises RefusedError, GitError."""
    if not ref.startswith("refs/orc/"):
        raise RefusedError(f"only refs below refs/orc/ are published from a mirror, not {ref}")
    with _own_ref(mirror, project_git_dir, ref) as project:
        fetch_ref(project, mirror.git_dir, [f"+{ref}:{ref}"])
    flush_elsewhere(mirror, project_git_dir)


def move_own_ref(mirror: Git, project_git_dir: Path, ref: str, new: str, old: str) -> None:
    """Move one of orc's own refs in the project's repository from `old` ("": must not exist). Raises RefMovedError."""
    with _own_ref(mirror, project_git_dir, ref) as project:
        update_ref(project, ref, new, old)
    flush_elsewhere(mirror, project_git_dir)


@contextmanager
def _own_ref(mirror: Git, project_git_dir: Path, ref: str) -> Iterator[Git]:
    """The project's repository, in which nobody else changes `ref` meanwhile, however an earlier git ended."""
    with locked(mirror) as git:
        # Only orc changes it, with this lock, which its git holds too: so nobody is alive behind this file.
        remove(project_git_dir / f"{ref}.lock")
        yield Git(project_git_dir, inherit=git.inherit)


def flush_elsewhere(mirror: Git, project_git_dir: Path) -> None:
    """Flush a project's repository, if it is not where the ledger is: writing a step flushes only the latter."""
    if os.stat(project_git_dir).st_dev != os.stat(mirror.git_dir).st_dev:
        sync_filesystem(project_git_dir)


def write_ref(mirror: Git, ref: str, new: str, old: str) -> None:
    """Move a ref of the mirror from `old` ("": must not exist) to `new`, flushed to disk. Raises RefMovedError."""
    with locked(mirror) as git:
        _heal_ref_lock(git, ref)
        update_ref(git, ref, new, old)
        # git flushes the file but not its name; the folders above may be new as well.
        folder = (git.git_dir / ref).parent
        while folder != git.git_dir and folder.is_dir():
            sync_folder(folder)
            folder = folder.parent


def _heal_ref_lock(git: Git, ref: str) -> None:
    # Whoever changes a ref of a mirror holds the mirror's lock, and so does its git: nobody is alive behind this file.
    if "*" not in ref and os.path.lexists(git.git_dir / f"{ref}.lock"):
        remove(git.git_dir / f"{ref}.lock")
    remove(git.git_dir / "packed-refs.lock")


def ref_value(mirror: Git, ref: str) -> str:
    """The commit that `ref` of the mirror names; "" if it does not exist."""
    return rev_parse(mirror, f"{ref}^{{commit}}") or ""


def is_kept(mirror: Git, oid: str, *others: str) -> bool:
    """Whether a commit is in the mirror, and in the history of a ref there or of one of `others`."""
    output = mirror.run("rev-list", "-n1", oid, "--not", *others, "--all", ok=(0, 128))
    return output.code == 0 and not output.out


def new_rescue_ref(agent: str, stamp: str) -> str:
    """A new name for work that would otherwise be lost. `stamp` is a time without colons."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", agent).strip("-") or "unknown"
    return f"refs/orc/rescue/{name}/{stamp}-{os.urandom(4).hex()}"
