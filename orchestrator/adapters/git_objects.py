"""Commits, trees, merges and differences, read and made without a checkout, and objects fetched from elsewhere.

Nothing here reads or writes a file of a work tree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from orchestrator.adapters.git import Git, Identity
from orchestrator.adapters.git_process import GitError
from orchestrator.core.diffstat import SYMLINK, Change, DiffStat
from orchestrator.core.white_space import MAX_BYTES, is_meant_empty, means_another, runs_by_itself

LINK_BYTES = 4096
MADE_EXECUTABLE = ("100644", "100755")
"""The modes of a file that became executable."""
_DIFF = (
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    # Between two commits no submodule is visited, and a changed gitlink must be seen.
    "--ignore-submodules=none",
    "--submodule=short",
)

# The other end runs with the configuration of its own repository, so the door's options are repeated for it.
# `safe.directory`: the folder is named by us, and it may belong to another user in a container.
_UPLOAD_PACK = (
    "git -c core.hooksPath=/dev/null -c core.fsmonitor=false "
    "-c uploadpack.allowAnySHA1InWant=true -c 'safe.directory=*' -c gc.auto=0 -c core.alternateRefsCommand= "
    # A person may keep refs, such as ours, from those who clone the repository.
    "-c 'transfer.hideRefs=!refs' upload-pack"
)

FORGIVEN = (
    "zeroPaddedFilemode",
    "zeroPaddedDate",
    "badTimezone",
    "badDateOverflow",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
    "missingEmail",
    "badName",
    "multipleAuthors",
)
"""Mistakes of old programs that a project's history may hold for ever. They harm nobody."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """A merge computed without a checkout: its tree, or at least one path in conflict."""

    tree: str | None
    conflicts: tuple[str, ...] = ()


def split_z(data: bytes) -> list[str]:
    """The fields of an output in which each ends with a NUL. Undecodable names become surrogates."""
    return [os.fsdecode(field) for field in data.split(b"\0")[:-1]]


def commit_tree(
    git: Git,
    tree: str,
    parents: Sequence[str],
    message: str,
    *,
    author: Identity,
    when: datetime | None = None,
) -> str:
    """Make a commit and return its id; no ref moves. The committer is the identity of `git`."""
    arguments = [word for parent in parents for word in ("-p", parent)]
    moment = f"@{int(when.timestamp())} +0000" if when else ""
    dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment} if when else {}
    text = message.encode("utf-8", "replace")
    made = git.run("commit-tree", "--no-gpg-sign", *arguments, tree, stdin=text, env=dates, author=author)
    return made.out.decode().strip()


def merge_trees(git: Git, ours: str, theirs: str) -> MergeResult:
    """Merge two commits without a checkout, an index or a hook.

    Needs git 2.38. Raises GitError if the histories are unrelated. In a mirror no merge driver can run; in another
    repository those that the person has configured there do.
    """
    command = ("merge-tree", "--write-tree", "-z", "--name-only")
    output = git.run(*command, "--no-messages", ours, theirs, ok=(0, 1))
    tree, *conflicts = split_z(output.out)
    if output.code == 0:
        return MergeResult(tree)
    # Not every conflict is one of a file: a folder may have gone to two places. Only the messages name it.
    conflicts = conflicts or _paths_in_messages(git.run(*command, "--messages", ours, theirs, ok=(1,)).out)
    return MergeResult(None, tuple(dict.fromkeys(conflicts)) or (".",))


def lay_over(git: Git, base: str, changes: Iterable[Change]) -> str:
    """The tree of `base` with these changes made to it, written as objects; no file of a checkout is touched."""
    gone = "0" * len(base)
    lines = [
        f"0 {gone}\t{each.path}" if each.status == "D" else f"{each.new_mode} {each.new_oid}\t{each.path}"
        for each in changes
    ]
    from tempfile import TemporaryDirectory  # Slow to load.

    with TemporaryDirectory(prefix="orc-tree-") as made:
        door = replace(git, index=Path(made) / "index")
        door.run("read-tree", base)
        door.run("update-index", "-z", "--index-info", stdin=b"".join(os.fsencode(f"{line}\0") for line in lines))
        return door.text("write-tree")


def _paths_in_messages(data: bytes) -> list[str]:
    """The paths of the conflicts that `merge-tree -z` tells of: count, paths, type and text, one after another."""
    fields = iter(split_z(data)[2:])
    found: list[str] = []
    for count in fields:
        paths = [next(fields, "") for _ in range(int(count))]
        is_conflict = next(fields, "").startswith("CONFLICT")
        next(fields, "")
        found += paths if is_conflict else []
    return found


def diff_stat(git: Git, base: str, tip: str) -> DiffStat:
    """Every path that differs between two commits or trees, with the lines added and deleted."""
    fields = split_z(git.run("diff-tree", "-r", "-z", "--raw", "--numstat", *_DIFF, base, tip).out)
    raw: dict[str, list[str]] = {}
    lines: dict[str, tuple[int | None, int | None]] = {}
    walk = iter(fields)
    for field in walk:
        if field.startswith(":"):
            raw[next(walk)] = field[1:].split(" ")
        else:
            added, deleted, path = field.split("\t", 2)
            lines[path] = (_count(added), _count(deleted))
    return DiffStat(
        tuple(
            Change(path, facts[4][:1], *lines.get(path, (0, 0)), facts[0], facts[1], facts[3], facts[2])
            for path, facts in raw.items()
        )
    )


def _count(text: str) -> int | None:
    return None if text == "-" else int(text)


def read_patch(git: Git, base: str, tip: str, *, max_bytes: int, paths: Sequence[str] = ()) -> tuple[bytes, bool]:
    """The patch between two commits, byte for byte, and whether it was cut at `max_bytes`. `paths`: of these alone."""
    shape = ("--full-index", "-U3", "--inter-hunk-context=0", "--src-prefix=a/", "--dst-prefix=b/")
    return git.run_bounded("diff-tree", "-r", "-p", *shape, *_DIFF, base, tip, "--", *paths, max_bytes=max_bytes)


def diff_text(git: Git, base: str, tip: str, *, max_bytes: int) -> tuple[str, bool]:
    """The patch as text to read. Bytes that are not UTF-8 are replaced, so it may not apply: see `read_patch`."""
    data, is_cut = read_patch(git, base, tip, max_bytes=max_bytes)
    return data.decode("utf-8", "replace"), is_cut


def whitespace_only_paths(git: Git, base: str, tip: str, changes: Iterable[Change] | None = None) -> set[str]:
    """Text files of whose change nothing is left when white space that means nothing and blank lines are ignored.

    That a program became executable which no system can start means nothing either.

    `changes` are those between the two commits, if the caller has asked `diff_stat` for them.
    """
    from orchestrator.core.gate import is_program  # Slow to load, and no supervisor of a run asks for it.

    changes = diff_stat(git, base, tip).changes if changes is None else changes
    asked = {
        each.path: each
        for each in changes
        if each.old_mode == each.new_mode
        or (each.status == "A" and not is_meant_empty(each.path))
        or ((each.old_mode, each.new_mode) == MADE_EXECUTABLE and is_program(each.path))
    }
    if not asked:
        return set()
    output = git.run("diff-tree", "-r", "-z", "--numstat", "-w", "--ignore-blank-lines", *_DIFF, base, tip).out
    left = {
        path
        for added, deleted, path in (field.split("\t", 2) for field in split_z(output))
        if (added, deleted) != ("0", "0")
    }
    found = [change for path, change in asked.items() if path not in left]
    both = [(each.old_oid, each.new_oid) for each in found]
    blobs = read_small_blobs(git, (oid for pair in both for oid in pair if oid), MAX_BYTES)
    texts = [(blobs.get(old), blobs.get(new)) for old, new in both]
    return {
        each.path
        for each, (old, new) in zip(found, texts, strict=True)
        if old is None or new is None or not means_another(each.path, old, new)
        if (each.old_mode, each.new_mode) != MADE_EXECUTABLE or not (new is None or runs_by_itself(each.path, new))
    }


def read_blob(git: Git, commit: str, path: str, max_bytes: int) -> bytes | None:
    """The content of a file in a commit; a link's content is its target. None if there is no such file.

    Raises GitError if it is larger than `max_bytes`.
    """
    for _, kind, oid, found in _ls_tree(git, commit, path):
        if found == path and kind == "blob":
            data, is_cut = git.run_bounded("cat-file", "blob", oid, max_bytes=max_bytes)
            if is_cut:
                raise GitError(("git", "cat-file"), 1, f"{path!r} is larger than {max_bytes} bytes")
            return data
    return None


def read_small_blobs(git: Git, oids: Iterable[str], max_bytes: int, max_all: int = 0) -> dict[str, bytes]:
    """The contents of blobs by id, read by two processes however many they are; by none where a reader is at hand.

    Left out is what is missing, is no blob, or is larger than `max_bytes`; and, if `max_all` is given, from the first
    one on with which they would all be larger than that together.
    """
    asked = list(dict.fromkeys(oids))
    if not asked:
        return {}
    small = [(oid, size) for oid, kind, size in _sizes(git, asked) if kind == "blob" and size <= max_bytes]
    if max_all:
        sums = accumulate(size for _, size in small)
        small = [each for each, total in zip(small, sums, strict=True) if total <= max_all]
    if git.reader is not None:
        read = git.reader.contents([oid for oid, _ in small])
        return {oid: content for (oid, _), content in zip(small, read, strict=True) if content is not None}
    data = git.run("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid, _ in small).encode()).out
    found, at = {}, 0
    for oid, size in small:
        at = data.index(b"\n", at) + 1
        found[oid] = data[at : at + size]
        at += size + 1
    return found


def _sizes(git: Git, oids: list[str]) -> Iterator[tuple[str, str, int]]:
    """(id, type, size) of each of these objects that is there."""
    if git.reader is not None:
        for oid, facts in zip(oids, git.reader.facts(oids), strict=True):
            if facts is not None:
                yield oid, *facts
        return
    told = git.run("cat-file", "--batch-check", stdin="".join(f"{oid}\n" for oid in oids).encode()).out
    for line in told.decode().splitlines():
        match line.split(" "):
            case [oid, kind, size]:
                yield oid, kind, int(size)


def read_links(git: Git, changes: Iterable[Change]) -> tuple[tuple[str, str], ...]:
    """(path, what it points to) of each change that is a symbolic link now.

    One that is too long to be a path points out of the tree, to be sure.
    """
    links = [each for each in changes if each.new_mode == SYMLINK]
    targets = read_small_blobs(git, (each.new_oid for each in links), LINK_BYTES)
    found = ((each.path, targets.get(each.new_oid) or b"/") for each in links)
    return tuple((path, target.decode("utf-8", "surrogateescape")) for path, target in found)


def list_tree(git: Git, commit: str) -> list[tuple[str, str, str]]:
    """Every entry of a commit or tree, folders left out: (mode, object id, path)."""
    return [(mode, oid, path) for mode, _, oid, path in _ls_tree(git, commit, "-r")]


def list_folders(git: Git, commit: str, folders: Iterable[str]) -> list[str]:
    """The paths at the top of a commit, and of what is in these folders of it."""
    below = [f"{folder}/" for folder in folders]
    entries = [*_ls_tree(git, commit), *(_ls_tree(git, commit, *below) if below else ())]
    return [path for _, _, _, path in entries]


def _ls_tree(git: Git, commit: str, *args: str) -> list[tuple[str, str, str, str]]:
    flags = [arg for arg in args if arg == "-r"]
    paths = ["--", *(arg for arg in args if arg != "-r")] if len(flags) < len(args) else []
    entries = []
    for line in split_z(git.run("ls-tree", "-z", "--full-tree", *flags, commit, *paths).out):
        facts, _, path = line.partition("\t")
        mode, kind, oid = facts.split(" ")
        entries.append((mode, kind, oid, path))
    return entries


def fetch_ref(git: Git, source_git_dir: Path, refspecs: list[str], *, forgive_old_mistakes: bool = False) -> None:
    """Fetch `refspecs` from another repository on this machine, checking every object that comes.

    The source must be a folder that no agent can write: git reads its configuration. A refspec without a destination
    brings the objects only. `forgive_old_mistakes` lets pass what a project's old history may hold. Raises GitError.
    """
    forgiven = (
        [word for name in FORGIVEN for word in ("-c", f"fetch.fsck.{name}=ignore")] if forgive_old_mistakes else []
    )
    git.run(
        *forgiven,
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--no-prune",
        f"--upload-pack={_UPLOAD_PACK}",
        "--end-of-options",
        str(source_git_dir),
        *refspecs,
    )
