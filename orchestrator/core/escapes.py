"""Escapes: what a run did outside of its own tree. No job can allow it, so it is always held for a person.

People work in the same repository at the same time. So only this counts: what nobody changes in passing, and what can
be attributed, because it has the very content of what the run made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.core.attempt_record import Attempt, Escape

VERSION = 1
"""Of these rules."""
CONFIG, REFS, CHECKOUT, TREES = "config_touched", "refs_touched", "checkout_touched", "trees_touched"
NOT_LOOKED = "not_looked"
"""Not an escape: nobody can say whether there was one."""
KEPT = 8
"""So many findings of one rule are kept of one attempt; what stands for the others says how many they are."""
SHOWN = 160

Settings = Mapping[str, tuple[str, ...]]
"""The values of each key of a file of git's configuration."""

_IN_PASSING = re.compile(
    r"branch\..*|submodule\..*\.(url|active|branch)|user\.\w+|gui\..*|color\..*|advice\.\w+|push\.\w+|pull\.\w+"
    r"|core\.(sparsecheckout\w*|repositoryformatversion)|index\.sparse|extensions\.worktreeconfig"
    r"|lfs\..*\.access|lfs\.repositoryformatversion|gc\.\w+|maintenance\.\w+|rerere\.\w+",
    re.S,
)
"""Keys that git and its helpers write when somebody works with branches and remotes, and by which nothing is run."""
_OF_REMOTE = re.compile(r"remote\.(.*)\.([^.]*)", re.S)
_HARMLESS, _PLACES = frozenset({"fetch", "tagopt", "prune", "prunetags", "gh-resolved"}), frozenset({"url", "pushurl"})


@dataclass(frozen=True, slots=True)
class Outside:
    """What there was outside of the tree of a run."""

    files: dict[str, str] = field(default_factory=dict)
    """What git would run or read, by path: what it is, its size and digest."""
    configs: dict[str, str] = field(default_factory=dict)
    """Files of git's configuration, by path: their text."""
    refs: dict[str, str] = field(default_factory=dict)
    """Branches, tags, replacements and orc's own refs of the project: the commit that each names."""
    ledger: str = ""
    """Where the ledger stood."""
    merged: tuple[str, ...] = ()
    """Commits that the engine had made, and was to put on a branch."""
    trees: dict[str, str] = field(default_factory=dict)
    """Records of the trees of agents, by path: their state, which changes with each run there."""


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The paths that differ, and how, in words."""
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield path, "made"
        elif path not in after:
            yield path, "removed"
        elif before[path] != after[path]:
            yield path, "changed"


def changed_settings(before: Settings, after: Settings) -> Iterator[str]:
    """What changed in git's configuration that nobody changes in passing. Values are not told: they may be secrets."""
    remotes = {found[1] for key in before if (found := _OF_REMOTE.fullmatch(key))}
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key) or _is_in_passing(key, remotes, is_left=key in after):
            continue
        yield f"{key} is {'set' if key not in before else 'changed' if key in after else 'removed'}"


def _is_in_passing(key: str, remotes: set[str], *, is_left: bool) -> bool:
    if found := _OF_REMOTE.fullmatch(key):
        name, last = found[1], found[2]
        return not is_left or last in _HARMLESS or (last in _PLACES and name not in remotes)
    return _IN_PASSING.fullmatch(key) is not None


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first of several names."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def list_escapes(found: Iterable[Escape], attempt: int) -> tuple[Escape, ...]:
    """The findings of one attempt as its record keeps them: of each rule the first ones, in one line each."""
    by_rule: dict[str, list[Escape]] = {}
    for each in found:
        clean = replace(each, place=_clean(each.place, end=True), text=_clean(each.text), attempt=attempt)
        by_rule.setdefault(each.rule, []).append(clean)
    kept: list[Escape] = []
    for rule, those in by_rule.items():
        kept += those[:KEPT]
        if len(those) > KEPT:
            kept.append(Escape(rule, "elsewhere", f"{len(those) - KEPT} more", attempt))
    return tuple(kept)


def escapes_of(attempts: Iterable[Attempt]) -> tuple[Escape, ...]:
    """What all attempts of a job did: a later one does not undo what an earlier one left behind."""
    return tuple(each for attempt in attempts for each in attempt.escapes)


def told_outside(found: Iterable[Escape]) -> list[str]:
    """A line for each finding, as cards tell it; what several attempts left in the same way once."""
    return list(dict.fromkeys(f"outside of its own tree: {each.told}" for each in found))


def _clean(text: str, *, end: bool = False) -> str:
    """In one line that can be shown anywhere; of a long one the beginning, or the end."""
    plain = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))
    if len(plain) <= SHOWN:
        return plain
    return f"…{plain[1 - SHOWN :]}" if end else f"{plain[: SHOWN - 1]}…"
