"""Revisions and refs of a repository: what names what, what comes before what, and moving a ref from a known value."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_process import LOCKED, GitError

_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NOT_AS_EXPECTED = re.compile(
    r"but expected|reference already exists|unable to resolve reference|reference is missing|cannot lock ref"
)


class RefMovedError(GitError):
    """A ref does not have the value that it was expected to have: somebody else moved it first."""


# --- what a name stands for ---


def rev_parse(git: Git, rev: str) -> str | None:
    """The object id that `rev` names; None if there is no such ref or object."""
    if git.reader is not None:
        return git.reader.find([rev])[0]
    wanted = f"{rev}^{{object}}" if _FULL_ID.fullmatch(rev) else rev
    output = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, ok=(0, 1))
    return output.out.decode().strip() if output.code == 0 else None


def tree_of(git: Git, commit: str) -> str:
    """The tree of a commit. Raises GitError if there is none."""
    if git.reader is not None and (found := git.reader.find([f"{commit}^{{tree}}"])[0]):
        return found
    return git.text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")


def parents_of(git: Git, commit: str) -> list[str]:
    """The parents of a commit, the first one first, where a reader tells them without a process; else none."""
    data = git.reader.contents([commit])[0] if git.reader is not None and _FULL_ID.fullmatch(commit) else None
    head = data.partition(b"\n\n")[0].decode("ascii", "replace") if data else ""
    return [line.removeprefix("parent ") for line in head.splitlines() if line.startswith("parent ")]


def is_ancestor(git: Git, old: str, new: str) -> bool:
    """Whether `old` is in the history of `new`; a commit is in its own. Raises GitError if one is missing."""
    # Nearly always one was made right upon the other. Git may walk the whole history for it: where commits of the same
    # second meet, it cannot tell which of them are older.
    if old in parents_of(git, new):
        return True
    if new in parents_of(git, old):
        return False
    return git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).code == 0


def merge_base(git: Git, a: str, b: str) -> str | None:
    """The best common ancestor; None if the histories are not related."""
    for old, new in ((a, b), (b, a)):
        if old in parents_of(git, new):
            return old
    output = git.run("merge-base", a, b, ok=(0, 1))
    return output.out.decode().strip() if output.code == 0 else None


# --- moving ---


def update_ref(git: Git, ref: str, new: str, old: str) -> None:
    """Move `ref` from `old` to `new` in one step; `old` "" means that it must not exist.

    Raises RefMovedError if it has another value. Never use it for a branch that a person has checked out.
    """
    _change_ref(git, ref, "--no-deref", ref, new, old)


def delete_refs(git: Git, refs: Iterable[tuple[str, str]]) -> None:
    """Remove all of these refs, each of which must have the value beside it, or none. Raises RefMovedError."""
    lines = "".join(f"delete {ref} {old}\n" for ref, old in refs)
    _change_ref(git, "one of orc's refs", "--no-deref", "--stdin", stdin=lines.encode())


def _change_ref(git: Git, ref: str, *args: str, stdin: bytes = b"") -> None:
    try:
        git.run("update-ref", *args, stdin=stdin)
    except GitError as error:
        if not _NOT_AS_EXPECTED.search(error.stderr) or LOCKED.search(error.stderr):
            raise
        raise RefMovedError(
            error.argv,
            error.code,
            error.stderr,
            cause=f"{ref} was moved by something else.",
            hint="look at it again, then decide again",
        ) from error
