"""A conflict, as it is put before whoever is to resolve it: both sides as data, within a budget."""

from __future__ import annotations

from dataclasses import dataclass

BUDGET = 60_000
"""Characters of both sides together in a prompt; whole they lie in files."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side's patch as far as there is room for it."""

    text: str
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Collision:
    """Approved work that collided with what had come in, and where both can be read whole."""

    merge: int
    """Number of the merge that collided."""
    target: str
    paths: tuple[str, ...]
    attempt: int
    """Number of the attempt whose work it is."""
    author: str
    ours: Side
    theirs: Side
    ours_file: str
    theirs_file: str


def cut_sides(ours: str, theirs: str, budget: int = BUDGET) -> tuple[Side, Side]:
    """Both patches within the budget, at the ends of lines; what one does not use is the other's."""
    for_ours = max(budget // 2, budget - len(theirs))
    shown = _cut(ours, for_ours)
    return shown, _cut(theirs, budget - len(shown.text))


def _cut(text: str, room: int) -> Side:
    if len(text) <= room:
        return Side(text)
    return Side(text[: text.rfind("\n", 0, room) + 1], is_cut=True)
