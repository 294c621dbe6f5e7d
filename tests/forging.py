"""What a forgery of the honest ledger of `audit_world` is, and how one is made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import audit_world as w

from orchestrator.adapters.audit_rules import Rule


@dataclass(frozen=True)
class Forgery:
    """What is forged, which rule must notice, and words that must stand in what it says."""

    forge: Callable[[w.Draft], None]
    rule: Rule
    words: str = ""


def at(job: str, event: str, change: Callable[[w.Draft], None], *, to: str = "") -> Callable[[w.Draft], None]:
    """A forgery of one step."""

    def forge(draft: w.Draft) -> None:
        if draft.is_(job, event, to):
            change(draft)

    return forge


def everywhere(job: str, old: str, new: str) -> Callable[[w.Draft], None]:
    """A forgery that is carried through every file and message about a job."""

    def forge(draft: w.Draft) -> None:
        if draft.job == job:
            draft.swap_all(old, new)

    return forge


def reworded(key: str, value: str) -> Callable[[w.Draft], None]:
    """A trailer says something else."""
    return lambda draft: draft.trail(key, value)


def swapped(name: str, old: str, new: str) -> Callable[[w.Draft], None]:
    """A file says something else."""
    return lambda draft: draft.swap(name, old, new)


def rewritten(name: str, pattern: str, new: str) -> Callable[[w.Draft], None]:
    """A file says something else wherever the pattern fits."""

    def forge(draft: w.Draft) -> None:
        if any(path.endswith(f"/{name}") for path in draft.changes):
            draft.write(name, re.sub(pattern, new, draft.read(name)))

    return forge
