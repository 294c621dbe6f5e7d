"""What the rules of the diff gate look at, read from the objects of two commits."""

from __future__ import annotations

from orchestrator.adapters.git import Git, tree_of
from orchestrator.adapters.git_objects import read_small_blobs, whitespace_only_paths
from orchestrator.core.diffstat import Change
from orchestrator.core.gate import SYMLINK, DiffFacts

EMPTY_BLOBS = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""Ids of the file without content, in repositories of either format."""
LINK_BYTES = 4096


def gather_facts(
    git: Git, base: str, tip: str, changes: tuple[Change, ...], *, report: str, previous: str
) -> DiffFacts:
    """What the rules of the diff gate look at. `changes` are those between the two commits."""
    kept = [change for change in changes if change.status != "D"]
    return DiffFacts(
        changes=changes,
        whitespace_only=frozenset(whitespace_only_paths(git, base, tip, changes)),
        empty_files=frozenset(c.path for c in kept if c.new_mode != SYMLINK and c.new_oid in EMPTY_BLOBS),
        links=_links(git, [change for change in kept if change.new_mode == SYMLINK]),
        report=report,
        tree=tree_of(git, tip),
        previous_tree=previous,
    )


def _links(git: Git, changes: list[Change]) -> tuple[tuple[str, str], ...]:
    """What symbolic links point to; one that is too long to be a path points out of the tree, to be sure."""
    targets = read_small_blobs(git, (change.new_oid for change in changes), LINK_BYTES)
    found = ((change.path, targets.get(change.new_oid) or b"/") for change in changes)
    return tuple((path, target.decode("utf-8", "surrogateescape")) for path, target in found)
