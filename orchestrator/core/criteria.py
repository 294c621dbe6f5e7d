"""What a reviewer is asked about one kind of work: a few yes/no items and the share that must pass. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_THRESHOLD = 0.8


@dataclass(frozen=True, slots=True)
class Item:
    """One positively phrased yes/no question. A required item that fails decides alone."""

    id: str
    question: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """The items for one kind of work. `threshold` is the share of applicable items that must pass, 0 to 1."""

    kind: str
    items: tuple[Item, ...]
    threshold: float = DEFAULT_THRESHOLD
    blob: str = ""


def criteria_for(kind: str, known: Mapping[str, Criteria]) -> Criteria:
    """The criteria of `kind`; for a kind nobody wrote criteria for, the strictest known ones. `known` is not empty."""
    if kind in known:
        return known[kind]
    return max(known.values(), key=lambda one: (sum(i.required for i in one.items), one.threshold, one.kind))
