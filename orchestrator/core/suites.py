"""What a test file holds: its tests, what they assert, and what keeps them from failing. Values, and how they compare.

A test file in Python is read in `suites_python`, in other languages in `suites_text`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

ALIKE = 0.5
"""The share of its lines that a renamed test has in common with what it was called before."""
FEW_LEFT = 3
"""A test has lost its assertions when fewer than one in so many are left, whatever stands there instead."""


class FlawKind(StrEnum):
    """How a test is kept from failing."""

    SKIPPED = "skipped"
    EMPTY = "empty"
    TAUTOLOGY = "tautology"
    SWALLOWED = "swallowed"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that keeps a test from failing. `text` says it in its own words."""

    kind: FlawKind
    line: int
    text: str
    firm: bool = True
    """False: only under a condition, such as a platform. Then it is nothing to tell of in a new test."""

    @property
    def key(self) -> tuple[FlawKind, str]:
        """By what it is known again, wherever it stands."""
        return self.kind, self.text


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    name: str
    """With the class that holds it: `TestLogin.test_umlaut`."""
    line: int
    body: frozenset[str]
    """Its lines, by which it is known again under another name."""
    asserts: tuple[str, ...] = ()
    """Assertions that say something of what is tested."""
    flaws: tuple[Flaw, ...] = ()
    size: int = 1
    """How many sets of parameters it is run with, as far as they stand there in so many words."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One version of a test file."""

    cases: tuple[Case, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    """Of the file, or of a class or a group in it."""
    problem: str = ""
    """Why it cannot be read; then nothing else is known of it."""
    imports: frozenset[str] = frozenset()
    """The names that it takes from elsewhere, and those of the functions that it makes itself."""
    makes: frozenset[str] = frozenset()


NO_SUITE = Suite()


@dataclass(frozen=True, slots=True)
class Pair:
    """A test before and after: `old` is None for a new one, `new` for one that is gone."""

    path: str
    """Where it is now; for one that is gone, where it was."""
    old: Case | None
    new: Case | None


def pair_up(old: Mapping[str, Suite], new: Mapping[str, Suite]) -> list[Pair]:
    """Every test of the old and new versions of some files, with itself: by path and name, by name, then by its lines.

    So a test that was moved or renamed is one test, and not one that is gone and a new one.
    """
    before = [(path, case) for path, suite in old.items() for case in suite.cases]
    after = [(path, case) for path, suite in new.items() for case in suite.cases]
    pairs = []
    for key in (_by_place, _by_name, _by_last_name):
        found = _match([key(*each) for each in before], [key(*each) for each in after])
        pairs += [Pair(after[at][0], before[was][1], after[at][1]) for was, at in found.items()]
        taken = set(found.values())
        before = [each for number, each in enumerate(before) if number not in found]
        after = [each for number, each in enumerate(after) if number not in taken]
    alike = _match_alike([case.body for _, case in before], [case.body for _, case in after])
    pairs += [Pair(after[at][0], before[was][1], after[at][1]) for was, at in alike.items()]
    pairs += [Pair(path, case, None) for number, (path, case) in enumerate(before) if number not in alike]
    taken = set(alike.values())
    pairs += [Pair(path, None, case) for at, (path, case) in enumerate(after) if at not in taken]
    return pairs


def _by_place(path: str, case: Case) -> tuple[str, ...]:
    return path, case.name


def _by_name(path: str, case: Case) -> tuple[str, ...]:
    return (case.name,)


def _by_last_name(path: str, case: Case) -> tuple[str, ...]:
    return (case.name.rpartition(".")[2],)


def _match(before: list[tuple[str, ...]], after: list[tuple[str, ...]]) -> dict[int, int]:
    """Which of `before` is which of `after`: each once, the first with the first."""
    free: dict[tuple[str, ...], list[int]] = {}
    for at, key in enumerate(after):
        free.setdefault(key, []).append(at)
    return {was: free[key].pop(0) for was, key in enumerate(before) if free.get(key)}


def _match_alike(before: list[frozenset[str]], after: list[frozenset[str]]) -> dict[int, int]:
    holders: dict[str, list[int]] = {}
    for at, body in enumerate(after):
        for line in body:
            holders.setdefault(line, []).append(at)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for was, body in enumerate(before):
        # A line that nearly every test has says nothing, and looking through them all would take its time.
        shared = Counter(at for line in body for at in holders.get(line, ())[:50] if at not in taken)
        for at, count in shared.most_common(1):
            if count >= ALIKE * len(body | after[at]):
                found[was] = at
                taken.add(at)
    return found


def new_flaws(old: Iterable[Flaw], new: Iterable[Flaw]) -> Iterator[Flaw]:
    """What was not there before."""
    known = Counter(flaw.key for flaw in old)
    for flaw in new:
        if known[flaw.key] > 0:
            known[flaw.key] -= 1
        else:
            yield flaw


def _begins_one(text: str, ranked: list[str]) -> bool:
    """Whether one of these texts, which are in their order, begins with `text`."""
    at = bisect_left(ranked, text)
    return at < len(ranked) and ranked[at].startswith(text)


def lost_assertions(old: Case, new: Case) -> tuple[str, ...]:
    """The assertions that a test has lost, if nothing of their weight took their place; () if it has lost none."""
    was, now = Counter(old.asserts), Counter(new.asserts)
    lost = tuple((was - now).elements())
    # What is left of `assert f(2) == 4` as `assert f(2)` is no assertion in its place.
    ranked = sorted(lost)
    put = [each for each in (now - was).elements() if not _begins_one(each, ranked)]
    if not lost or (put and len(new.asserts) * FEW_LEFT >= len(old.asserts)):
        return ()
    # The same words more than once: as long as one is left, nothing less is asserted.
    return tuple(each for each in lost if put or not now[each])
