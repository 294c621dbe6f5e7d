"""Reads, through the hardened door, what the gate and the tamper guard look at: to judge, and to prove it later."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import (
    diff_stat,
    list_folders,
    list_tree,
    read_links,
    read_small_blobs,
    whitespace_only_paths,
)
from orchestrator.adapters.git_refs import rev_parse, tree_of
from orchestrator.adapters.report_facts import read_seen
from orchestrator.core.contents import has_conflict_marks, holds_sentences, is_binary, is_named_as_note
from orchestrator.core.diffstat import SYMLINK, Change
from orchestrator.core.evidence_record import Tampering
from orchestrator.core.gate import DiffFacts, follow_link, is_program
from orchestrator.core.job import JobSpec
from orchestrator.core.phantoms import open_claims
from orchestrator.core.tamper import MAX_ALL_BYTES, MAX_BYTES, Looked, blobs_to_read, find_tampering, needs_home

EMPTY_BLOBS = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""Ids of the file without content, in repositories of either format."""
MOST_ADDED = 1000
"""Of so many added paths it is looked whether another differs from them in capitals only."""


def read_contents(git: Git, changes: tuple[Change, ...]) -> dict[str, bytes]:
    """Both versions of the changed files by object id, without what is too large and what is one too many."""
    return read_small_blobs(git, blobs_to_read(changes), MAX_BYTES, MAX_ALL_BYTES)


def read_diff_facts(
    git: Git,
    base: str,
    tip: str,
    changes: tuple[Change, ...],
    contents: Mapping[str, bytes],
    *,
    report: str,
    previous: str,
    keep: tuple[str, ...] = (),
    aside: tuple[str, ...] | None = None,
) -> DiffFacts:
    """What the rules of the diff look at. `contents` as `read_contents` has them, `previous` the tree sent back.

    `keep` and `aside` as `read_seen` takes them.
    """
    kept, tree = [change for change in changes if change.status != "D"], tree_of(git, tip)
    links = read_links(git, kept)
    return DiffFacts(
        changes=changes,
        whitespace_only=frozenset(whitespace_only_paths(git, base, tip, changes)),
        empty_files=frozenset(c.path for c in kept if c.new_mode != SYMLINK and _is_empty(c, contents)),
        links=links,
        marked=frozenset(change.path for change in kept if _is_marked(change, contents)),
        hidden=frozenset(change.path for change in kept if _is_hidden(change, contents)),
        report=report,
        tree=tree,
        previous_tree=previous,
        is_previous_but_for_space=bool(previous) and previous != tree and _differ_in_space_only(git, previous, tree),
        twins=frozenset(find_twins(git, base, [change.path for change in changes if change.status == "A"])),
        folders=frozenset(_folders_climbed(git, tip, links)),
        notes=frozenset(change.path for change in kept if _is_note(change, contents)),
        seen=read_seen(git, base, tip, open_claims(report if changes else "", changes), keep=keep, aside=aside),
    )


def look_for_tampering(
    git: Git, base: str, changes: tuple[Change, ...], contents: Mapping[str, bytes], spec: JobSpec
) -> tuple[Tampering, ...]:
    """What was done to the tests, to CI and to orc's own files by `changes`, which begin at `base`."""
    is_home = needs_home(changes) and rev_parse(git, f"{base}:orc.yaml") is not None
    return find_tampering(Looked(changes, contents, is_home, spec.deliverables), spec.allows)


def _folders_climbed(git: Git, tip: str, links: Iterable[tuple[str, str]]) -> set[str]:
    """Of the places from which links go up again, those that are folders of `tip`: there is something below them."""
    followed = (follow_link(path, points_to) for path, points_to in links)
    wanted = {place for each in followed if each is not None for place in each[0]}
    if not wanted:
        return set()
    return wanted.intersection(part for _, _, path in list_tree(git, tip) for part in _parts(path)[:-1])


def _is_note(change: Change, contents: Mapping[str, bytes]) -> bool:
    if change.status != "A" or change.new_mode == SYMLINK or not is_named_as_note(change.path):
        return False
    return holds_sentences(contents.get(change.new_oid, b""))


def _is_empty(change: Change, contents: Mapping[str, bytes]) -> bool:
    data = contents.get(change.new_oid)
    return change.new_oid in EMPTY_BLOBS or (data is not None and not data.strip())


def _differ_in_space_only(git: Git, old: str, new: str) -> bool:
    if rev_parse(git, f"{old}^{{tree}}") is None:
        return False  # Nothing keeps it any more.
    changes = diff_stat(git, old, new).changes
    return {each.path for each in changes} == whitespace_only_paths(git, old, new, changes)


def find_twins(git: Git, base: str, added: Iterable[str]) -> set[str]:
    """Those of the added paths whose name differs in capitals only from one in `base`, or from another added one."""
    new = list(added)[:MOST_ADDED]
    if not new:
        return set()
    folders = {path[:at] for path in new for at, sign in enumerate(path) if sign == "/"}
    known = {part for path in list_folders(git, base, folders) for part in _parts(path)}
    beside: dict[str, set[str]] = {}
    for part in known | {part for path in new for part in _parts(path)}:
        beside.setdefault(_same_on_some_disks(part), set()).add(part)
    return {
        path
        for path in new
        if any(part not in known and len(beside[_same_on_some_disks(part)]) > 1 for part in _parts(path))
    }


def _parts(path: str) -> list[str]:
    """The path and the folders that it lies in."""
    return [path[:at] for at, sign in enumerate(f"{path}/") if sign == "/"]


def _same_on_some_disks(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _is_marked(change: Change, contents: Mapping[str, bytes]) -> bool:
    new = contents.get(change.new_oid)
    return new is not None and has_conflict_marks(contents.get(change.old_oid, b""), new)


def _is_hidden(change: Change, contents: Mapping[str, bytes]) -> bool:
    """Whether git shows no line of a program, as it did before, or has nothing to be compared with."""
    if change.added is not None or not is_program(change.path):
        return False
    old, new = contents.get(change.old_oid), contents.get(change.new_oid)
    return (new is None or is_binary(new)) and (old is None or not is_binary(old))
