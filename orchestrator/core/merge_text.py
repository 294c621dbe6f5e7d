"""Weaving two edits of one text together, line by line."""

from __future__ import annotations

from difflib import SequenceMatcher

Hunk = tuple[int, int]
"""The lines of the base that an edit replaces: from, up to."""


def merge_text(base: str, ours: str, theirs: str) -> str | None:
    """`base` with the changes of both; None if they touch the same lines in different ways."""
    lines = base.splitlines(keepends=True)
    changes = _changes(lines, ours)
    for hunk, new in _changes(lines, theirs).items():
        if changes.get(hunk, new) != new or any(_collide(hunk, other) for other in changes):
            return None
        changes[hunk] = new
    for (start, end), new in sorted(changes.items(), reverse=True):
        lines[start:end] = new
    return "".join(lines)


def _changes(base: list[str], other: str) -> dict[Hunk, list[str]]:
    lines = other.splitlines(keepends=True)
    matcher = SequenceMatcher(None, base, lines, autojunk=False)
    return {(a, b): lines[c:d] for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"}


def _collide(one: Hunk, other: Hunk) -> bool:
    """Whether two different hunks share lines, or touch where only one of them inserts: their order is a guess then."""
    if one == other:
        return False
    if one[0] == one[1] or other[0] == other[1]:
        return one[0] <= other[1] and other[0] <= one[1]
    return one[0] < other[1] and other[0] < one[1]
