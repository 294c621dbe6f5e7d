"""Like jobs: how near what a new job asks for is to what an open one does, and what keeps two from being the same.

Every number is whole and every order is settled, so that `orc verify` comes to the very same score from the ledger.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from orchestrator.core.job import Job, JobSpec
from orchestrator.core.twins import settings_of

ALL = 1000
"""The likeness of a text to itself. Scores are thousandths: no fraction is rounded otherwise on another machine."""
MOST_SHARED = 200
"""A word that more open jobs of the project have points at none of them: so a look-up costs the same for any number."""
MOST_FILLED = 6
"""Two texts that are the same but for so many words on each side are one template, filled in for two jobs."""
MOST_REMEMBERED, _MOST_KEPT = 4000, 80
"""Characters of a text, and of a word, that are remembered as they were read: longer ones would fill the memory."""
_QUOTED = re.compile(r"`([^`\n]{1,80})`|\"([^\"\n]{1,80})\"|“([^”\n]{1,80})”|„([^“”\n]{1,80})[“”]|«([^»\n]{1,80})»")
_EDGES = "`'\"“”„\u2018\u2019«»()[]{}<>,;:!?*…|"
_MARKED = re.compile(r"[/\\_@=#$%]|::|\w\.\w|^-{1,2}\w|[a-z][A-Z]")
_ENDS = ("ings", "ing", "edly", "ed", "es", "s")
_EVERYWHERE = """
a an and are as at be been but by can could did do does for from had has have how i if in into is it its just let me my
of on or our please should so some such than that the their them then there these they this those to too us was we were
what when where which who why will with would you your
"""
_COUNTING = """
one two three four five six seven eight nine ten eleven twelve first second third fourth fifth sixth seventh eighth
ninth tenth monday tuesday wednesday thursday friday saturday sunday
"""
_STOP, _COUNTED = frozenset(_EVERYWHERE.split()), frozenset(_COUNTING.split())


@dataclass(frozen=True, slots=True)
class Said:
    """What a job asks for, made ready to be held against others."""

    same: tuple[object, ...]
    """How, where and by whom it is to be done: jobs that differ in it are not alike, whatever they say."""
    order: tuple[str, ...]
    """Its words, the title's first, without those that every text has."""
    words: frozenset[str]
    names: frozenset[str]
    """What it names: numbers, versions, paths, dates, CamelCase, ALL CAPITALS, options, what stands in quotes."""


def said(spec: JobSpec) -> Said | None:
    """What a job asks for; None for one with a key of its own, which alone says what is the same."""
    if spec.dedup_key:
        return None
    read = _read if len(spec.prompt) <= MOST_REMEMBERED else _read.__wrapped__
    order, names = read(spec.title, spec.prompt)
    return Said(settings_of(spec), order, frozenset(order), names)


@lru_cache(maxsize=1024)
def _read(title: str, prompt: str) -> tuple[tuple[str, ...], frozenset[str]]:
    order: list[str] = []
    names: set[str] = set()
    for text in (title, prompt):
        names.update(_plain(each) for found in _QUOTED.findall(text) for each in found if each.strip())
        is_first = True
        for raw in text.split():
            word, is_name = (_word if len(raw) <= _MOST_KEPT else _word.__wrapped__)(raw)
            if not word and not is_first and raw.strip(_EDGES + ".") == "A":
                word, is_name = "a", True  # Part A is not part B.
            if word:
                order.append(word)
            if is_name:
                names.add(word)
            is_first = raw.endswith((".", "!", "?", ":"))
    return tuple(order), frozenset(names)


@lru_cache(maxsize=65536)
def _word(raw: str) -> tuple[str, bool]:
    """The word of a part of a text, '' if every text has it; and whether it is the name of something."""
    bare = unicodedata.normalize("NFKC", raw).strip(_EDGES).rstrip(".-").strip(_EDGES)
    plain = bare.casefold()
    if any(char.isdigit() for char in plain) or _MARKED.search(bare) or plain in _COUNTED:
        return plain, True
    if len(bare) > 1 and bare.isupper():
        return plain, True
    plain = "".join(char for char in plain if char.isalnum() or unicodedata.category(char)[0] == "M")
    if plain in _STOP:
        return "", False
    return _stem(plain), len(plain) == 1


def _stem(word: str) -> str:
    if not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    end = next((end for end in _ENDS if word.endswith(end) and len(word) - len(end) >= 3), "")
    if end == "s" and word.endswith("ss"):
        end = ""
    stem = word[: len(word) - len(end)]
    if end and len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeiouls":
        stem = stem[:-1]
    return stem[:-1] if stem.endswith("e") and len(stem) > 3 else stem


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


# --- two texts ----------------------------------------------------------------------------------------------------


class Other(StrEnum):
    """Why two jobs that are alike are not the same work."""

    NAMES = "each names something that the other does not"
    FILLED = "the same is said of something else"


def why_other(one: Said, two: Said) -> Other | None:
    """Why two jobs are different work however alike they are; None if nothing says so."""
    if _own_names(one, two) and _own_names(two, one):
        return Other.NAMES
    return Other.FILLED if _is_template(one, two) else None


def _own_names(one: Said, two: Said) -> frozenset[str]:
    return one.names - two.names - two.words


def _is_template(one: Said, two: Said) -> bool:
    """Whether both say the same, in the same order, and in the same places a few words that each has for itself."""
    mine, others = one.words - two.words, two.words - one.words
    if not mine or not others or max(len(mine), len(others)) > MOST_FILLED:
        return False
    if _frame(one.order, mine) != _frame(two.order, others):
        return False
    # A word that was only spelled otherwise is no other one.
    slips = {(a, b) for a in mine for b in others if _is_slip(a, b)}
    return not (mine == {a for a, _ in slips} and others == {b for _, b in slips})


def _frame(order: tuple[str, ...], own: frozenset[str]) -> list[str]:
    """A text with one gap, '', in each place where it has words of its own."""
    frame: list[str] = []
    for word in order:
        if word not in own:
            frame.append(word)
        elif frame[-1:] != [""]:
            frame.append("")
    return frame


def _is_slip(one: str, two: str) -> bool:
    """Whether two words differ by one letter that is left out, or by two that changed places."""
    short, long = sorted((one, two), key=len)
    if len(short) < 5 or len(long) - len(short) > 1:
        return False
    if len(short) < len(long):
        return any(short == long[:at] + long[at + 1 :] for at in range(len(long)))
    return any(long == short[:at] + short[at + 1] + short[at] + short[at + 2 :] for at in range(len(short) - 1))


# --- the open jobs ------------------------------------------------------------------------------------------------


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


@dataclass(slots=True)
class _Shelf:
    """The open jobs of one project by their words."""

    jobs: dict[str, Said] = field(default_factory=dict)
    having: dict[str, set[str]] = field(default_factory=dict)

    def add(self, id_: str, one: Said) -> None:
        self.jobs[id_] = one
        for word in one.words:
            self.having.setdefault(word, set()).add(id_)

    def remove(self, id_: str) -> None:
        for word in self.jobs.pop(id_).words:
            self.having[word].discard(id_)
            if not self.having[word]:
                del self.having[word]

    def like(self, new: Said, id_: str, least: int) -> Iterator[tuple[int, str]]:
        """The jobs that are at least so much like a new one, with their scores."""
        weight = _Weights(self, new)
        total = sum(weight[word] for word in new.words)
        for other in self._pointed_at(new, weight, least) - {id_}:
            old = self.jobs[other]
            both = sum(weight[word] for word in new.words & old.words)
            if old.same != new.same or both * ALL < least * total:
                continue
            either = total - both + sum(weight[word] for word in old.words)
            if (found := ALL * both // either) >= least:
                yield found, other

    def _pointed_at(self, new: Said, weight: _Weights, least: int) -> set[str]:
        """Jobs that have one of the rarest words of a new one, and by all words that point may be as like as that.

        Whoever has none of those cannot be. Words that point at no job count as if each job had them.
        """
        found: set[str] = set()
        shared: Counter[str] = Counter()
        total = left = sum(weight[word] for word in new.words)
        often = 0
        for number, word in sorted((len(self.having.get(word, ())), word) for word in new.words):
            having = self.having.get(word, frozenset[str]()) if number <= MOST_SHARED else frozenset[str]()
            if left * ALL >= least * total:
                found |= having
            for id_ in having & found:
                shared[id_] += weight[word]
            often += weight[word] if number > MOST_SHARED else 0
            left -= weight[word]
        return {id_ for id_ in found if (shared[id_] + often) * ALL >= least * total}


class _Weights(dict[str, int]):
    """What a word weighs, the more the fewer jobs have it; the new job is one of them."""

    def __init__(self, shelf: _Shelf, new: Said) -> None:
        super().__init__()
        self._shelf, self._new = shelf, new

    def __missing__(self, word: str) -> int:
        jobs, having = len(self._shelf.jobs) + 1, len(self._shelf.having.get(word, ())) + (word in self._new.words)
        self[word] = made = round(ALL * (1 + math.log((jobs + 1) / (having + 1))))
        return made


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
        near = sorted(shelf.like(new, job.id, bounds.least), key=lambda each: (-each[0], each[1]))
        passed: Likeness | None = None
        for found, id_ in near:
            if (why := why_other(new, shelf.jobs[id_])) is None:
                is_refused = bounds.block and found >= bounds.block
                return Likeness(id_, found, Means.REFUSED if is_refused else Means.ASKED)
            passed = passed or Likeness(id_, found, Means.PASSED, why)
        return passed
