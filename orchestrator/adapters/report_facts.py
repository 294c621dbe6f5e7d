"""Reads, through the hardened door, what a repository has of what a report claims: to judge, and to prove it later."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import list_tree, read_small_blobs
from orchestrator.adapters.git_refs import is_ancestor, rev_parse
from orchestrator.core.phantoms import Seen, ignore_patterns, of_interest
from orchestrator.core.report_claims import Claimed

IGNORE_FILES, IGNORE_BYTES, ALL_IGNORE_BYTES = 50, 64 * 1024, 512 * 1024
"""So many `.gitignore` of a tree are read, those nearest to its top, and so much of them."""
MOST_IGNORES = 5_000
"""So many of their patterns."""
MOST_NAMED = 10
"""So many objects are looked at whose ids begin as a claimed commit does."""


def read_seen(
    git: Git, base: str, tip: str, claimed: Claimed, *, keep: Collection[str] = (), aside: tuple[str, ...] | None = None
) -> Seen:
    """What the repository has of these claims about the work from `base`, a merge base, to `tip`.

    `keep`: patterns of what is never taken out of an agent's tree. `aside`: what an earlier look found, None to look.
    """
    inside, older, beside = _find_commits(git, base, tip, claimed.commits)
    found = Seen(frozenset(inside), frozenset(older), tuple(beside) if aside is None else aside)
    if not (claimed.made or claimed.deleted):
        return found
    tree = list_tree(git, tip)
    ignores = [("", pattern) for pattern in ignore_patterns("\n".join(keep))]
    paths = of_interest(claimed, (path for _, _, path in tree))
    return Seen(found.commits, found.older, found.aside, paths, (*ignores, *_read_ignores(git, tree)))


def _find_commits(git: Git, base: str, tip: str, ids: Collection[str]) -> tuple[set[str], set[str], list[str]]:
    """Which of these ids, as they are abbreviated, name a commit of the work, and which one from before.

    Last the whole ids of the others.
    """
    inside, older, beside = set[str](), set[str](), list[str]()
    for each in ids:
        named = git.text("rev-parse", f"--disambiguate={each}").split()[:MOST_NAMED]
        commits = [oid for oid in named if rev_parse(git, f"{oid}^{{commit}}") == oid]
        before = [oid for oid in commits if is_ancestor(git, oid, base)]
        made = [oid for oid in commits if oid not in before and is_ancestor(git, oid, tip)]
        if made:
            inside.add(each)
        elif before:
            older.add(each)
        else:
            beside += commits
    return inside, older, beside


def _read_ignores(git: Git, tree: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    files = [
        (path, oid) for mode, oid, path in tree if mode.startswith("100") and path.rpartition("/")[2] == ".gitignore"
    ]
    files = sorted(files, key=lambda each: (each[0].count("/"), each[0]))[:IGNORE_FILES]
    texts = read_small_blobs(git, (oid for _, oid in files), IGNORE_BYTES, ALL_IGNORE_BYTES)
    found = [
        (path.rpartition("/")[0], pattern)
        for path, oid in files
        for pattern in ignore_patterns(texts.get(oid, b"").decode("utf-8", "replace"))
    ]
    return found[:MOST_IGNORES]
