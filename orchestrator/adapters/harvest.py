"""Turns what lies in an agent's tree into a commit of the mirror. It moves no ref and runs nothing of the agent's.

Git is told the mirror as its repository and an index outside the tree; it never sees a `.git` below the tree, because
each file is named to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from orchestrator.adapters.clone_commits import CloneCommits, fetch_clone_commits, read_tips
from orchestrator.adapters.files import remove
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import commit_tree, list_tree, split_z
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import is_ancestor, tree_of
from orchestrator.adapters.mirrors import is_kept
from orchestrator.adapters.reading import size_text
from orchestrator.adapters.tree_spec import TreeSpec
from orchestrator.adapters.tree_walk import is_file_or_link, is_real_folder, make_readable, open_up
from orchestrator.core.diffstat import GITLINK
from orchestrator.errors import OrcError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one harvest may take."""

    files: int = 50_000
    bytes: int = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Harvest:
    """What was taken, as objects of the mirror."""

    commit: str
    tree: str
    parent: str
    """What the files were compared with; "" for a tree of which nothing was known."""
    own_commits: bool
    strays: tuple[str, ...]
    """Commits of the agent's that are neither in the history of `commit` nor under any ref of the mirror."""


@dataclass(frozen=True, slots=True)
class _Changes:
    removed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def harvest(
    git: Git, spec: TreeSpec, *, when: datetime, limits: Limits, notes: list[str], known: bool = True
) -> Harvest:
    """Take the work out of the tree. `git` is the mirror with the tree and its index.

    The files that git ignores, and the included ones, are left out. With `known` False nothing is believed of where
    the work began. Raises OrcError if the tree is not a folder or holds too much; GitError.
    """
    if not is_real_folder(spec.path):
        raise OrcError(
            f"the tree {spec.path} is not a folder any more",
            cause="It was removed, or replaced by a link or a file, while or after the agent worked.",
            hint="look at it, then move it away; the next run builds a new one",
        )
    open_up(spec.path, notes, known=spec.beside("folders"))
    start = {spec.commit, spec.start} if known else set[str]()
    own = fetch_clone_commits(git, spec.path, spec.beside("own"), given=start, max_bytes=limits.bytes, notes=notes)
    parent = _choose_parent(git, spec, own, notes) if known else own.head or ""
    tree = _stage(git, spec, parent, limits, notes)
    commit = parent
    own_commits = bool(own.head) and parent == own.head and parent not in start
    if not parent or tree != tree_of(git, parent):
        message = _message(spec, own_commits=own_commits, known=known)
        commit = commit_tree(git, tree, [parent] if parent else [], message, author=spec.author, when=when)
    tips = [oid for oid in dict.fromkeys((own.head, *own.others)) if oid]
    strays = tuple(oid for oid in tips if oid not in start and not is_kept(git, oid, commit))
    return Harvest(commit, tree, parent, own_commits, strays)


def is_untouched(git: Git, spec: TreeSpec, tree: str, *, known: Iterable[str]) -> bool:
    """Whether the folder and its clone are as they were when the files were last taken, as `tree`.

    `known`: commits, beside those of `spec`, that the clone's branches may name.
    """
    if not is_real_folder(spec.path) or not (spec.path / ".git").is_dir():
        return False
    notes: list[str] = []
    open_up(spec.path, notes, known=spec.beside("folders"))
    tips = read_tips(spec.path, notes)
    if notes or tips is None or not tips <= {spec.commit, spec.start, *known}:
        return False
    try:
        if git.text("write-tree") != tree:
            return False
    except GitError:
        return False
    changes = _find_changes(git, spec, notes)
    return not (changes.added or changes.removed)


def _message(spec: TreeSpec, *, own_commits: bool, known: bool) -> str:
    who = spec.author.name
    if own_commits or not known:
        return f"uncommitted work of {who}\n"
    number = (spec.seal_ref or "").rpartition("/")[2]
    return f"work of {who} on {spec.branch.removeprefix('orc/')}, attempt {number}\n"


def _choose_parent(git: Git, spec: TreeSpec, own: CloneCommits, notes: list[str]) -> str:
    """The agent's HEAD where it builds on what it was given, else the start: then its commits count as one change."""
    head = own.head
    if head is None or head in (spec.start, spec.commit):
        return spec.start
    if not is_ancestor(git, spec.start, head) and not is_ancestor(git, spec.commit, head):
        notes.append(f"HEAD ({head[:12]}) does not build on the commit given: the files were taken as one change.")
        return spec.start
    targets = [each.target for each in spec.include]
    if targets and git.text("rev-list", "-n1", f"{spec.start}..{head}", "--", *targets):
        notes.append("The agent committed a file that was lent to it: its commits were taken as one change without it.")
        return spec.start
    return head


def _stage(git: Git, spec: TreeSpec, parent: str, limits: Limits, notes: list[str]) -> str:
    """The git tree of what lies in the folder now."""
    read_tree(git, parent)
    # A gitlink that the agent committed would hide the files below it.
    if links := _gitlinks(git):
        allowed = {path for mode, _, path in list_tree(git, spec.commit) if mode == GITLINK} if parent else set()
        _update_index(git, _Changes(removed=[path for path in links if path not in allowed]), notes)
    changes = _find_changes(git, spec, notes)
    _refuse_too_much(spec.path, changes, limits)
    _update_index(git, changes, notes)
    return git.text("write-tree")


def read_tree(git: Git, commit: str) -> None:
    """Fill the index with a commit, keeping what it knows of unchanged files. An unreadable index is made anew."""
    assert git.index is not None
    # The caller holds the tree's lock, and so would a git behind this file: nobody is.
    remove(git.index.with_name(git.index.name + ".lock"))
    arguments = ("read-tree", "--reset", commit) if commit else ("read-tree", "--empty")
    try:
        git.run(*arguments)
    except GitError:
        remove(git.index)
        git.run(*arguments)


def _gitlinks(git: Git) -> list[str]:
    listed = git.run("ls-files", "-z", "--stage").out
    # Tens of thousands of files without one are passed over at once.
    if not listed.startswith(GITLINK.encode()) and f"\0{GITLINK}".encode() not in listed:
        return []
    return [line.partition("\t")[2] for line in split_z(listed) if line.startswith(GITLINK)]


def _find_changes(git: Git, spec: TreeSpec, notes: list[str]) -> _Changes:
    changes = _Changes()
    included = {each.target for each in spec.include}
    for path, is_gone in changed_paths(git):
        if path not in included:
            (changes.removed if is_gone else changes.added).append(path)
    patterns = [word for pattern in ignore_patterns(spec) for word in ("-x", pattern)]
    untracked = git.run("ls-files", "-z", "--others", "--exclude-per-directory=.gitignore", *patterns)
    for path in split_z(untracked.out):
        if not path.endswith("/"):
            changes.added.append(path)
            continue
        notes.append(f"{path} holds a repository of its own: its files were taken, its history was not.")
        nested = _files_below(spec.path, path.rstrip("/"))
        changes.added.extend(name for name in _not_ignored(git, nested) if name not in included)
    lost = {path for path in changes.added if not make_readable(spec.path / path)}
    if lost:
        # Git goes by paths from the top of the tree, and so can name what we cannot.
        changes.added[:] = [path for path in changes.added if path not in lost]
        notes.append(f"{len(lost)} files were left out, whose paths are too long: {min(lost)[:80]} is the first.")
    return changes


def changed_paths(git: Git) -> list[tuple[str, bool]]:
    """Tracked paths whose file differs from the index, each with whether it is no file or link any more.

    A file with the very bytes of its blob counts as unchanged, even where git would normalise its line ends.
    """
    assert git.work_tree is not None
    output = git.run("diff-files", "-z", "--raw", "--no-renames", "--no-ext-diff", "--ignore-submodules=all")
    fields = iter(split_z(output.out))
    found: list[tuple[str, bool]] = []
    modified: dict[str, str] = {}
    for facts in fields:
        old_mode, new_mode, oid, _, status = facts[1:].split(" ")
        path = next(fields)
        is_gone = status == "D" or not is_file_or_link(git.work_tree / path)
        if status == "M" and not is_gone and old_mode == new_mode != "120000" and "\n" not in path:
            modified[path] = oid
        else:
            found.append((path, is_gone))
    return found + [(path, False) for path in _with_other_bytes(git, git.work_tree, modified)]


def _with_other_bytes(git: Git, root: Path, modified: dict[str, str]) -> list[str]:
    if not modified:
        return []
    for path in modified:
        make_readable(root / path)
    names = b"".join(os.fsencode(root / path) + b"\n" for path in modified)
    hashes = git.run("hash-object", "--no-filters", "--stdin-paths", stdin=names).out.decode().split()
    return [path for (path, oid), now in zip(modified.items(), hashes, strict=True) if oid != now]


def ignore_patterns(spec: TreeSpec) -> list[str]:
    """What is never taken out of the tree, whatever the agent's `.gitignore` says, as patterns of a `.gitignore`."""
    return [*spec.keep, *("/" + _escaped(each.target) for each in spec.include)]


def _escaped(path: str) -> str:
    text = "".join(f"\\{char}" if char in "*?[\\" else char for char in path)
    return text[:-1] + "\\ " if text.endswith(" ") else text


def _files_below(root: Path, start: str) -> list[str]:
    found, pending = [], [start]
    while pending:  # Not by calling itself, as `os.walk` does: an agent can nest folders deeper than that.
        folder = pending.pop()
        with suppress(OSError), os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}"
                if entry.name.casefold() == ".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif is_file_or_link(root / path):
                    found.append(path)
    return found


def _not_ignored(git: Git, paths: list[str]) -> list[str]:
    if not paths:
        return []
    # This command alone refuses literal paths; with "./" in front no name is taken for a pattern's keyword.
    names = _joined(f"./{path}" for path in paths)
    command = ("check-ignore", "-z", "--stdin", "--no-index")
    ignored = git.run(*command, stdin=names, ok=(0, 1), env={"GIT_LITERAL_PATHSPECS": "0"}).out
    left_out = set(split_z(ignored))
    return [path for path in paths if f"./{path}" not in left_out]


def _refuse_too_much(root: Path, changes: _Changes, limits: Limits) -> None:
    hint = "add what is generated to .gitignore, or split the job"
    count = len(changes.added) + len(changes.removed)
    if count > limits.files:
        raise OrcError(
            f"too much work to take: {count} changed files, the limit is {limits.files}",
            cause="A folder of generated or installed files is not ignored.",
            hint=hint,
        )
    size = sum(os.lstat(root / path).st_size for path in changes.added)
    if size > limits.bytes:
        raise OrcError(
            f"too much work to take: {size_text(size)}, the limit is {size_text(limits.bytes)}",
            cause="A large file was made and is not ignored.",
            hint=hint,
        )


def _update_index(git: Git, changes: _Changes, notes: list[str]) -> None:
    if changes.removed:
        zeros = "0" * 40 if len(tree_of_nothing(git)) == 40 else "0" * 64
        lines = _joined(f"0 {zeros}\t{path}" for path in changes.removed)
        git.run("update-index", "-z", "--index-info", stdin=lines)
    if changes.added:
        done = git.run("update-index", "-z", "--add", "--replace", "--stdin", stdin=_joined(changes.added))
        for line in done.err.splitlines():
            if line.startswith("Ignoring path "):
                notes.append(f"{line.removeprefix('Ignoring path ')} has a name that git refuses: it was left out.")


def tree_of_nothing(git: Git) -> str:
    """The id of the empty tree."""
    return git.run("hash-object", "-t", "tree", "--stdin", stdin=b"").out.decode().strip()


def _joined(paths: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def door_of(spec: TreeSpec, lease: int) -> Git:
    """The mirror, the tree and its index as one door whose processes hold `lease`."""
    return replace(Git(spec.mirror), work_tree=spec.path, index=spec.index, inherit=(lease,))
