"""Like jobs: how near what a new job asks for is to what an open one does, and what follows.

Every number is whole and every order is settled, so that `orc verify` comes to the very same score from the ledger.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.core.job import Job, JobSpec
from orchestrator.core.wording import Other, Said, is_template, names_differ, said

ALL = 1000
"""The likeness of a text to itself. Scores are thousandths: no fraction is rounded otherwise on another machine."""
MOST_SHARED = 200
"""A word that more open jobs of the project have points at none of them: so a look-up costs the same for any number."""
FEW = 8
"""Words that so few jobs have are counted for each job: they tell at once how like it may be at most."""
_OFF = tuple(math.ceil(ALL * math.log(having + 1)) for having in range(FEW + 1))
"""What is off the weight of a word by the jobs that have it, cut so that no likeness is taken to be less than it is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From which likeness, in thousandths, a person is asked, and from which a job is refused; 0: never."""

    ask: int
    block: int

    @property
    def least(self) -> int:
        """What is less like says nothing; 0: nothing does."""
        return min(each for each in (self.ask, self.block) if each) if self.ask or self.block else 0


class Means(StrEnum):
    """What is done with a new job that is like an open one."""

    PASSED = "passed"
    ASKED = "asked"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Likeness:
    """The open job that a new one is most like, how much, and what follows."""

    twin: str
    score: int
    means: Means
    why: Other | None = None
    """Why it is passed."""

    @property
    def told(self) -> str:
        """Such as `0.86 fix-login-7f3a09c2 asked`."""
        end = f" ({self.why})" if self.why is not None else ""
        return f"{in_words(self.score)} {self.twin} {self.means}{end}"


def in_words(thousandths: int) -> str:
    """A score as it is told: `0.86`. It is cut, never rounded up to a bound that it does not reach."""
    return f"{thousandths // 10 / 100:.2f}"


_Place = tuple[int, str]
"""A likeness, negated so that the most like comes first, and the id of the open job."""


@dataclass(slots=True)
class _Shelf:
    """The open jobs of one project by their words."""

    jobs: dict[str, Said] = field(default_factory=dict)
    having: dict[str, set[str]] = field(default_factory=dict)
    rare: dict[str, list[int]] = field(default_factory=dict)
    """Of each job how many of its words at most `FEW` jobs have, and the sum of what that takes off their weight."""

    def add(self, id_: str, one: Said) -> None:
        self.jobs[id_] = one
        own = self.rare[id_] = [0, 0]
        for word in one.words:
            having = self.having.get(word)
            if having is None:
                having = self.having[word] = set()
            before = len(having)
            if before <= FEW:
                self._count(having, before, before + 1)
                if before < FEW:
                    own[0] += 1
                    own[1] += _OFF[before + 1]
            having.add(id_)

    def remove(self, id_: str) -> None:
        del self.rare[id_]
        for word in self.jobs.pop(id_).words:
            having = self.having[word]
            having.discard(id_)
            if not having:
                del self.having[word]
            elif len(having) <= FEW:
                self._count(having, len(having) + 1, len(having))

    def _count(self, having: set[str], before: int, after: int) -> None:
        """So many jobs had a word that these have too, and so many have it now."""
        number = (after <= FEW) - (before <= FEW)
        off = (_OFF[after] if after <= FEW else 0) - (_OFF[before] if before <= FEW else 0)
        for id_ in having:
            own = self.rare[id_]
            own[0] += number
            own[1] += off

    def nearest(self, new: Said, id_: str, least: int) -> tuple[int, str, Other | None] | None:
        """Of the jobs that are at least so much like a new one the most like: its score, its id, why it is passed.

        One that nothing speaks against comes before all others; of equals the one whose id comes first.
        """
        sought = _Sought(self, new, least)
        open_: list[_Place] = []
        passed: list[_Place] = []
        for place in sought.places(self._pointed_at(sought) - {id_}):
            # To hold names against names is quick, and settles most.
            (passed if names_differ(new, self.jobs[place[1]]) else open_).append(place)
        filled: list[_Place] = []
        for found in sought.best_of(open_):
            if not is_template(new, self.jobs[found[1]]):
                return -found[0], found[1], None
            filled.append(found)
        names = next(sought.best_of(passed), None)
        if names is not None and (not filled or names < filled[0]):
            return -names[0], names[1], Other.NAMES
        return (-filled[0][0], filled[0][1], Other.FILLED) if filled else None

    def _pointed_at(self, sought: _Sought) -> set[str]:
        """Jobs that have one of the rarest words of a new one. Whoever has none of those cannot be as like as that."""
        found: set[str] = set()
        left = sought.total
        for number, word in sorted(zip(sought.having.values(), sought.having, strict=True)):
            if left * ALL < sought.least * sought.total:
                break
            if 0 < number <= MOST_SHARED:
                found |= self.having[word]
            left -= sought.weights[word]
        return found


class _Weights(dict[int, int]):
    """What a word weighs that so many jobs have of all these and a new one: the more the fewer have it."""

    def __init__(self, jobs: int) -> None:
        super().__init__()
        self.jobs = jobs

    def __missing__(self, having: int) -> int:
        self[having] = made = round(ALL * (1 + math.log((self.jobs + 2) / (having + 1))))
        return made


class _Sought:
    """A new job that is held against the open ones of a shelf."""

    def __init__(self, shelf: _Shelf, new: Said, least: int) -> None:
        self._shelf, self._new, self.least = shelf, new, least
        self._weigh = weigh = _Weights(len(shelf.jobs))
        words = shelf.having
        self.having = {word: len(words[word]) if word in words else 0 for word in new.words}
        self.weights = {word: weigh[number + 1] for word, number in self.having.items()}
        """The new job is one of those that have them."""
        self.total = sum(self.weights.values())
        self._full = math.floor(ALL * (1 + math.log(weigh.jobs + 2)) - 1)
        self._common = self.total
        self._shared: dict[str, list[int]] = {}
        """Of the jobs that have rare words of the new one: how many, what is off their weight, what they weigh."""
        for word, number in self.having.items():
            if number <= FEW:
                weight = self.weights[word]
                self._common -= weight
                for id_ in words[word] if number else ():
                    shared = self._shared.setdefault(id_, [0, 0, 0])
                    shared[0] += 1
                    shared[1] += _OFF[number]
                    shared[2] += weight

    def places(self, found: Iterable[str]) -> Iterator[_Place]:
        """Those of some open jobs that may be like enough, each with how like it is at most.

        That is as if it had all that many have, and nothing of its own but what few have.
        """
        rare, shared, common, full, total = self._shelf.rare, self._shared, self._common, self._full, self.total
        for id_ in found:
            number, off = rare[id_]
            both = common
            if (mine := shared.get(id_)) is not None:
                number, off, both = number - mine[0], off - mine[1], both + mine[2]
            own = number * full - off
            most = ALL * both // (total + own if own > 0 else total)
            if most >= self.least:
                yield -most, id_

    def best_of(self, places: Iterable[_Place]) -> Iterator[_Place]:
        """Those that are like enough, with how like they are, the most like first; none is looked at too early."""
        found: list[_Place] = []
        for place in sorted(places):
            while found and found[0] < place:
                yield heapq.heappop(found)
            if self._shelf.jobs[place[1]].same == self._new.same and (score := self.score(place[1])) >= self.least:
                heapq.heappush(found, (-score, place[1]))
        yield from sorted(found)

    def score(self, id_: str) -> int:
        """How like an open job is."""
        mine, others, having = self._new.words, self._shelf.jobs[id_].words, self._shelf.having
        both = self.total - sum([self.weights[word] for word in mine - others])
        return ALL * both // (self.total + sum([self._weigh[len(having[word])] for word in others - mine]))


@dataclass(slots=True)
class Likes:
    """The open jobs by what they say."""

    _shelves: dict[str, _Shelf] = field(default_factory=dict)
    _at: dict[str, tuple[JobSpec, str]] = field(default_factory=dict)
    """What each job said when it was last seen, and its project."""

    def follow(self, id_: str, job: Job | None) -> None:
        """A job is as it is now; None: it is not open any more."""
        before = self._at.get(id_)
        if job is not None and before is not None and job.spec == before[0]:
            return
        if before is not None:
            del self._at[id_]
            if id_ in (shelf := self._shelves[before[1]]).jobs:
                shelf.remove(id_)
        if job is not None:
            self._at[id_] = (job.spec, job.at.project)
            shelf = self._shelves.setdefault(job.at.project, _Shelf())
            if (one := said(job.spec)) is not None:
                shelf.add(id_, one)

    def begin(self, jobs: Mapping[str, Job]) -> None:
        """Forget all, and begin with these."""
        self._shelves.clear()
        self._at.clear()
        for id_, job in jobs.items():
            self.follow(id_, job)

    def has_any(self, project: str) -> bool:
        """Whether there is an open job of the project that a new one could be held against."""
        return bool((shelf := self._shelves.get(project)) and shelf.jobs)

    def judge(self, job: Job, bounds: Bounds) -> Likeness | None:
        """What a new job is most like, and what follows; None if there is nothing that it is like.

        Of jobs that are equally like it the one whose id comes first is named.
        """
        shelf, new = self._shelves.get(job.at.project), said(job.spec)
        if shelf is None or new is None or not new.words or not bounds.least:
            return None
        near = shelf.nearest(new, job.id, bounds.least)
        if near is None:
            return None
        found, id_, why = near
        is_refused = bounds.block and found >= bounds.block
        means = Means.PASSED if why is not None else Means.REFUSED if is_refused else Means.ASKED
        return Likeness(id_, found, means, why)
