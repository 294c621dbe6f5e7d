"""The person's own checkouts: where a branch is checked out, what is in the way, and moving branch and files together.

For repositories that the person owns, never for a folder an agent can write.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.adapters.files import ensure_folder, remove, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import split_z
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import RefMovedError, is_ancestor, rev_parse
from orchestrator.adapters.mirrors import hold_lease
from orchestrator.errors import RefusedError

# What moves the files runs in the person's repository, in a process of its own: the door's options do not reach it.
_RECEIVE_PACK = (
    "git -c receive.denyCurrentBranch=updateInstead -c core.hooksPath={hooks} -c core.fsmonitor=false "
    "-c receive.autogc=false -c gc.auto=0 -c maintenance.auto=false -c receive.fsckObjects=true "
    "-c core.fsync=committed,index -c receive.denyNonFastForwards=true -c receive.updateServerInfo=false "
    "-c receive.certNonceSeed= -c submodule.recurse=false -c core.alternateRefsCommand= "
    "-c 'safe.directory=*' -c 'transfer.hideRefs=!refs' receive-pack"
)
# git flushes the branch, but not the files that it has written by then: a power cut would leave them empty, and the
# person's next commit would undo the work. So all is flushed before the branch moves; no hook of the person's is run.
_FLUSH = "reference-transaction"
_FLUSH_HOOK = """\
#!/bin/sh
# Made by orc for each landing: what git has written is on the disk before the branch moves.
test "$1" != prepared || sync -f . {checkout} 2>/dev/null || sync
"""
LOCK_SECONDS = 120.0
_IN_THE_WAY = (
    "Working directory has",
    "Could not update working tree",
    "unstaged changes",
    "staged changes",
    "Up-to-date check failed",
)


class CheckoutInTheWayError(GitError):
    """The person's checkout has changes of its own in the way of the new commit. Nothing was moved."""


def checked_out_at(git: Git, branch: str) -> list[Path]:
    """The checkouts of a repository whose HEAD is `branch` (a short name), or that are busy rebasing it.

    A checkout whose folder is gone counts only while it is locked (it may be on a disk that is not mounted).
    """
    ref = f"refs/heads/{branch}"
    found = []
    for facts in _worktrees(git):
        path = Path(facts["worktree"])
        if not path.exists() and "locked" not in facts:
            continue
        if facts.get("branch") == ref or _is_rebasing(git, path, ref):
            found.append(path)
    return found


def _worktrees(git: Git) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = []
    for line in split_z(git.run("worktree", "list", "--porcelain", "-z").out):
        name, _, value = line.partition(" ")
        if name == "worktree":
            listed.append({})
        if name and listed:
            listed[-1][name] = value
    return listed


def _admin(git: Git, checkout: Path) -> Path:
    """Where git keeps HEAD and the index of one checkout."""
    pointer = checkout / ".git"
    return checkout / pointer.read_text().removeprefix("gitdir: ").strip() if pointer.is_file() else git.git_dir


def _is_rebasing(git: Git, checkout: Path, ref: str) -> bool:
    try:
        admin = _admin(git, checkout)
        names = [admin / folder / "head-name" for folder in ("rebase-merge", "rebase-apply")]
        return any(name.is_file() and name.read_text().strip() == ref for name in names)
    except (OSError, UnicodeDecodeError):
        return True  # It cannot be told: then nobody moves the branch under it.


def in_checkout(git: Git, checkout: Path) -> Git:
    """The repository as it is seen from one of its checkouts: with that checkout's files, HEAD and index."""
    admin = _admin(git, checkout)
    # HEAD of another checkout is another: its questions are not for the reader of the first.
    reader = git.reader if admin == git.git_dir else None
    return replace(git, git_dir=admin, work_tree=checkout, index=admin / "index", reader=reader)


_UNFINISHED = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


def unfinished_act(git: Git) -> str:
    """What is being done in the checkout of `git` and waits for the person (rebase, merge, …); "" if nothing is."""
    return next((act for name, act in _UNFINISHED.items() if os.path.lexists(git.git_dir / name)), "")


def find_lock(git: Git, branch: str, checkouts: Iterable[Path]) -> Path | None:
    """A lock on a branch or on a checkout of it, if there is one: git is at work there, or was killed there.

    Ask before `push_into_checkout`: git moves the files before it finds the branch locked, and leaves them so.
    """
    return next((lock for lock in locks_of(git, branch, checkouts) if os.path.lexists(lock)), None)


def locks_of(git: Git, branch: str, checkouts: Iterable[Path]) -> list[Path]:
    """The files that git makes while it changes a branch and its checkouts."""
    own = [_admin(git, each) / f"{name}.lock" for each in checkouts for name in ("index", "HEAD")]
    return [git.git_dir / "refs" / "heads" / f"{branch}.lock", *own]


def landing_mark(git: Git, branch: str, checkouts: Sequence[Path]) -> str:
    """A digest of what decides whether git moves a branch with its checkouts; another one means: worth another try."""
    files = [*locks_of(git, branch, checkouts), git.git_dir / "config"]
    files += [_admin(git, each) / "index" for each in checkouts]
    facts = [rev_parse(git, f"refs/heads/{branch}"), *(_version(path) for path in files)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.lstat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def dirty_paths(git: Git) -> list[str]:
    """Tracked paths of the work tree of `git` that differ from HEAD, staged or not. Never writes the index."""
    output = git.run(
        "status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=all"
    )
    return [line[3:] for line in split_z(output.out)]


def untracked_in_the_way(git: Git, commit: str) -> list[str]:
    """Untracked paths of the work tree, ignored ones included, that checking out `commit` would overwrite.

    The index must be that of HEAD: ask `dirty_paths` first.
    """
    assert git.work_tree is not None
    added = git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", "HEAD", commit).out
    found = [(path, blocking) for path in split_z(added) if (blocking := _blocking_path(git.work_tree, path))]
    tracked = set(split_z(git.run("ls-files", "-z").out)) if found else set()
    in_the_way: dict[str, None] = {}
    for path, blocking in found:
        if path not in tracked and blocking not in tracked and not _holds_only(git.work_tree, blocking, tracked):
            in_the_way[blocking] = None
    return list(in_the_way)


def _blocking_path(root: Path, path: str) -> str:
    """What stands at `path`, or where a folder above it must be; "" if nothing does."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        above = "/".join(parts[:count])
        if not os.path.lexists(root / above):
            return ""
        if os.path.islink(root / above) or not os.path.isdir(root / above):
            return above
    return path if os.path.lexists(root / path) else ""


def _holds_only(root: Path, path: str, tracked: set[str]) -> bool:
    """Whether `path` is a folder in which every file is tracked: then git may put a file in its place."""
    if os.path.islink(root / path) or not os.path.isdir(root / path):
        return False
    for folder, folders, files in os.walk(root / path):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            if os.path.relpath(os.path.join(folder, name), root) not in tracked:
                return False
    return True


def landing_notes(git: Git) -> Path:
    """Where a push leaves a note while it is under way, in the repository that is pushed from. See `landing.py`."""
    return git.git_dir / "landing"


@contextmanager
def landing_lock(git: Git, *, timeout: float = LOCK_SECONDS) -> Iterator[Git]:
    """One push at a time: git writes the files of a checkout before it finds that the branch has moved.

    Yields a door that shares the lock, which is free once the last git that was started through it has ended.
    """
    with hold_lease(landing_notes(git) / "lock", timeout=timeout, what="the checkout") as lease:
        yield replace(git, inherit=(*git.inherit, lease))


@contextmanager
def _noted(git: Git, checkout: Path, branch: str, old: str, new: str) -> Iterator[None]:
    """A note for whoever finds the checkout after a push that did not come to its end: it stays where git died."""
    note = landing_notes(git) / f"{new}.json"
    facts = {"checkout": str(checkout), "branch": branch, "old": old, "new": new}
    ensure_folder(note.parent)
    write_atomic(note, json.dumps(facts).encode())
    yield
    remove(note)


def _receive_pack(git: Git, checkout: Path) -> str:
    """The command that takes the commit in; its only hook lies in the repository that it is pushed from."""
    hooks = landing_notes(git) / "hooks"
    ensure_folder(hooks)
    script = _FLUSH_HOOK.format(checkout=shlex.quote(str(checkout)))
    write_atomic(hooks / _FLUSH, os.fsencode(script), mode=0o755, sync=False)
    return _RECEIVE_PACK.format(hooks=shlex.quote(str(hooks)))


def push_into_checkout(git: Git, repository: Path, commit: str, branch: str, expected_old: str) -> None:
    """Move `branch` of the person's `repository` (its git folder or a checkout) from `expected_old` to `commit`.

    Where it is checked out its files move with it, and git refuses if they are not clean. Never forces: `commit` must
    build on `expected_old`. Hooks of the person are not run. Raises RefusedError, RefMovedError (the branch is
    somewhere else by now), CheckoutInTheWayError.
    """
    if not is_ancestor(git, expected_old, commit):
        raise RefusedError(f"{commit[:12]} does not build on {expected_old[:12]}, so {branch} was not moved")
    target = f"refs/heads/{branch}"
    arguments = (
        "push",
        "--porcelain",
        "--no-verify",
        "--no-signed",
        "--no-follow-tags",
        "--recurse-submodules=no",
        f"--receive-pack={_receive_pack(git, repository)}",
        f"--force-with-lease={target}:{expected_old}",
        "--end-of-options",
        str(repository),
        f"{commit}:{target}",
    )
    with landing_lock(git) as door, _noted(git, repository, branch, expected_old, commit):
        output = door.run(*arguments, ok=(0, 1))
    if output.code == 0:
        return
    said = output.out.decode("utf-8", "replace") + output.err
    refusal = next((line for line in said.splitlines() if line.startswith("!")), said.strip())
    kind: type[GitError] = GitError
    if any(words in said for words in _IN_THE_WAY):
        kind = CheckoutInTheWayError
    elif any(words in said for words in ("stale info", "fetch first", "cannot lock ref", "non-fast-forward")):
        kind = RefMovedError
    raise kind(git.argv(*arguments), output.code, refusal.replace("\t", " "))
