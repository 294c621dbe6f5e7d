"""What is behind a backend: whether it takes more now, by how the runs before went, whatever jobs they were for.

A service that asks for a pause, is too busy or down *rests*: nothing begins on that model of it before a time, and then
one run at first. One whose key is refused, or whose program breaks or does nothing again and again, is *shut*, for a
while that grows. After each limit that it tells it gets a little less at once, and after clean runs a little more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Expects, Job, State, Worker
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Trouble
from orchestrator.core.step import FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_WAIT_S, later
from orchestrator.core.times import parse
from orchestrator.core.transitions import Event, one_line

FAILURES = 3
"""So many failures in a row, over any jobs, shut a service: what is in vain costs so many runs."""
EMPTY_RUNS, EMPTY_JOBS = 5, 3
"""So many attempts in a row that ended at once and changed nothing, for so many jobs at least, shut it as well."""
AT_ONCE_S = 30.0
"""A run that took less has hardly done anything."""
TRY_S = 120
"""A run that tries a service and goes on for longer is served: nobody waits for its end, which may be an hour away."""
FIRST_SHUT_S, LONGEST_SHUT_S = 300, 4 * 3600
MOST_ADDED_S = 601
"""So much is added to a pause at most."""
CLEAN_RUNS = 20
"""After so many clean runs in a row, each of them while at least half was in use, it gets one more at once."""
LESS = 0.9


class Went(StrEnum):
    """How a run went, as far as it says something of its service."""

    WELL = "well"
    """The service did its part, whatever the work is worth."""
    LIMITED = "limited"
    """A rate limit, or a plan that is used up."""
    OVERLOADED = "overloaded"
    REFUSED = "refused"
    """The key or the login was refused."""
    BROKEN = "broken"
    """The program cannot be started, or ended at once with an error."""
    EMPTY = "empty"
    """It ended at once, well, and nothing was changed that was to be changed."""
    MADE = "made"
    """It changed something."""


TURNED_AWAY = frozenset({Went.LIMITED, Went.OVERLOADED, Went.REFUSED})
"""Such a run says nothing of its job."""
_OF_TROUBLE = {
    Trouble.RATE_LIMITED: Went.LIMITED,
    Trouble.OVERLOADED: Went.OVERLOADED,
    Trouble.AUTH: Went.REFUSED,
}
REST_WORDS = {Went.LIMITED: "its limit is reached", Went.OVERLOADED: "it is down or too busy"}
SHUT_WORDS = {
    Went.REFUSED: "its key was refused",
    Went.BROKEN: "its program broke at once",
    Went.EMPTY: "its runs ended at once and changed nothing",
}


@dataclass(frozen=True, slots=True)
class Rest:
    """A model of a service on which nothing begins before a time."""

    model: str
    since: str
    until: str
    cause: Went
    why: str
    times: int = 1
    """How often in a row it was asked for: the first run after each of them was turned away, too."""


@dataclass(frozen=True, slots=True)
class Shut:
    """A service on which nothing begins but, after a time, one run that tries it."""

    since: str
    until: str
    cause: Went
    why: str
    times: int = 1
    """How often in a row: each run that tried it since failed as well."""


@dataclass(frozen=True, slots=True)
class Service:
    """`services/<backend>.yaml`: what is known of the service behind a backend. Absent: it takes what it is given."""

    backend: str
    seq: int = 0
    limit: int = 0
    """Runs at once, while that is less than what is configured; 0 for as many as that."""
    clean: int = 0
    """Clean runs in a row since the limit was changed."""
    lowered: str = ""
    """When it was last lowered."""
    refused: int = 0
    """Runs in a row whose key was refused."""
    broken: int = 0
    """Runs in a row that broke."""
    failed: str = ""
    """When the newest of those ended; '' without any."""
    empty: int = 0
    """Attempts in a row that changed nothing, and for which jobs the newest of them were."""
    empty_jobs: tuple[str, ...] = ()
    rests: tuple[Rest, ...] = ()
    """At most one for each model."""
    shut: Shut | None = None

    def rest_of(self, model: str) -> Rest | None:
        """The rest of one of its models."""
        return next((each for each in self.rests if each.model == model), None)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended, as far as its service is concerned."""

    run: str
    job: str
    worker: Worker
    went: Went
    began: str
    at: str
    why: str = ""
    wait_s: float = 0.0
    """How long the service asks to be left alone."""


# --- what a step says of a service --------------------------------------------------------------------------------

Read = Callable[[type[Any], int], Any]
"""The record of a kind and number of one job after the step; None if there is none."""
WAYS = {
    Went.REFUSED: "give it a key that is good, or log in again",
    Went.BROKEN: "see what its program says: orc doctor --try",
    Went.EMPTY: "see what its last runs did, and whether its program still does anything",
}
"""What a person does about a service that is shut."""
_ENDS = frozenset({Event.COLLECT, Event.NOT_STARTED, Event.VERDICT})
SPEAKS = _ENDS | {Event.EVIDENCE}
"""Steps that may say something of a service."""


def ended_by(event: Event, before: Job | None, after: Job, read: Read) -> Ended | None:
    """What a step of a job says of a service; None if nothing."""
    if before is None:
        return None
    if event is Event.EVIDENCE:
        return _made(before, after, read)
    if event not in _ENDS or not before.at.run:
        return None
    if before.state is State.RUNNING:
        attempt: Attempt | None = read(Attempt, before.at.attempt)
        if attempt is None or attempt.run != before.at.run or not attempt.ended:
            return None
        went = went_of(attempt.status, attempt.exit, attempt.spoke, is_back=event is Event.NOT_STARTED)
        return _ended(attempt, attempt.worker, after.id, went, attempt.error)
    if before.state is State.REVIEWING:
        review: ReviewRecord | None = read(ReviewRecord, before.at.review)
        if review is None or review.run != before.at.run or not review.ended:
            return None
        is_broken = review.status is RunStatus.ENDED and broke_at_once(review.exit, review.spoke, review.seconds)
        went = went_of(review.status, review.exit, review.spoke, is_back=is_broken)
        return _ended(review, review.reviewer, after.id, went, review.why)
    return None


def _ended(record: Attempt | ReviewRecord, worker: Worker, job: str, went: Went | None, why: str) -> Ended | None:
    if went is None or not worker.backend:
        return None
    wait_s = record.spoke.retry_after_s if record.spoke is not None else 0.0
    return Ended(record.run, job, worker, went, record.started, record.ended, one_line(why)[:200], wait_s)


def went_of(status: RunStatus | None, exit: int | None, spoke: Spoke | None, *, is_back: bool) -> Went | None:
    """How a run went; None if it says nothing of its service. `is_back`: it counts as a start that failed."""
    trouble = spoke.trouble if spoke is not None else Trouble.NONE
    if trouble in _OF_TROUBLE:
        return _OF_TROUBLE[trouble]
    if trouble is Trouble.SESSION:
        return None  # Its program saw that itself: nobody was asked for anything.
    if status is RunStatus.NOT_STARTED or (is_back and status is RunStatus.ENDED):
        return Went.BROKEN
    if status is not RunStatus.ENDED or trouble in (Trouble.CUT, Trouble.ERROR):
        return None
    # A program that keeps to no form tells by its exit code alone whether it could do its part.
    return Went.WELL if spoke is not None or exit == 0 else None


def broke_at_once(exit: int | None, spoke: Spoke | None, seconds: float) -> bool:
    """Whether a program ended by itself, at once, with an error that is not its service's."""
    trouble = spoke.trouble if spoke is not None else Trouble.NONE
    is_error = trouble in (Trouble.CUT, Trouble.ERROR, Trouble.REQUEST) or (spoke is None and exit != 0)
    return is_error and seconds < AT_ONCE_S


def _made(before: Job, after: Job, read: Read) -> Ended | None:
    attempt: Attempt | None = read(Attempt, before.at.attempt)
    evidence: Evidence | None = read(Evidence, after.at.evidence)
    if attempt is None or evidence is None or after.spec.expects is not Expects.CHANGE or not attempt.worker.backend:
        return None
    # What was there before it began is no change of its own.
    is_same = any(each.rule == "unchanged" for each in evidence.failures)
    is_empty = is_same or not (evidence.paths or evidence.more_paths)
    if is_empty and attempt.seconds >= AT_ONCE_S:
        return None
    went, why = (Went.EMPTY, attempt.report) if is_empty else (Went.MADE, "")
    return Ended(attempt.run, after.id, attempt.worker, went, attempt.started, attempt.ended, one_line(why)[:200])


# --- what follows -------------------------------------------------------------------------------------------------


def after_run(known: Service, run: Ended, *, most: int, used: int) -> Service:
    """What is known of the service behind a run once that has ended.

    `most`: the runs at once that are configured; `used`: how many there were when it ended, with itself.
    """
    match run.went:
        case Went.WELL:
            found = _one_more(_answered(known, run), most=most, used=used)
        case Went.LIMITED | Went.OVERLOADED:
            found = known if run.went is Went.OVERLOADED else _key_is_good(known, run)
            found = _less(_rest(found, run), run, most)
        case Went.REFUSED | Went.BROKEN:
            found = _failed(known, run)
        case Went.EMPTY:
            found = _was_empty(known, run)
        case Went.MADE:
            found = _better(known, run, Went.EMPTY, empty=0, empty_jobs=())
    return _numbered(known, found)


def after_run_elsewhere(known: Service, run: Ended) -> Service:
    """The same for another service that has the same key: whether that is refused holds for both."""
    if run.went is Went.REFUSED:
        return _numbered(known, _failed(known, run))
    return _numbered(known, _key_is_good(known, run) if run.went in (Went.WELL, Went.LIMITED) else known)


def reopened(known: Service) -> Service:
    """The service once a person has said that it is to be tried at once: all that speaks against it is forgotten."""
    return _numbered(known, Service(known.backend, known.seq))


def bounded(known: Service, now: str) -> Service:
    """The service without a pause that goes on from `now` for longer than it was to be: a clock was ahead then.

    It is then as long as it was to be, at most as long as any, from now on: when it began is not known.
    """
    shut = known.shut and _by_this_clock(known.shut, now, _shut_s(known.shut.times))
    rests = tuple(_by_this_clock(each, now, LONGEST_WAIT_S) for each in known.rests)
    soon = later(now, MOST_ADDED_S)
    lowered, failed = (now if each > soon else each for each in (known.lowered, known.failed))
    return _numbered(known, replace(known, shut=shut, rests=rests, lowered=lowered, failed=failed))


_Pause = TypeVar("_Pause", Rest, Shut)


def _by_this_clock(pause: _Pause, now: str, longest_s: float) -> _Pause:
    added_s = 1 + min(MOST_ADDED_S - 1, longest_s // 10)
    meant_s = min((parse(pause.until) - parse(pause.since)).total_seconds(), longest_s + added_s)
    if pause.until <= later(now, max(0.0, meant_s) + MOST_ADDED_S):
        return pause  # Clocks differ by seconds.
    return replace(pause, since=min(pause.since, now), until=later(now, max(0.0, meant_s)))


def _numbered(known: Service, found: Service) -> Service:
    if found.failed and not (found.refused or found.broken):
        found = replace(found, failed="")
    return found if found == known else replace(found, seq=known.seq + 1)


def _answered(known: Service, run: Ended) -> Service:
    found = _better(_key_is_good(known, run), run, Went.BROKEN, broken=0)
    rests = tuple(each for each in found.rests if each.model != run.worker.model or run.began < each.until)
    return replace(found, rests=rests)


def _key_is_good(known: Service, run: Ended) -> Service:
    return _better(known, run, Went.REFUSED, refused=0)


def _better(known: Service, run: Ended, cause: Went, **counters: Any) -> Service:
    """Nothing speaks against it for this cause any more. If it was shut for that, only a run that tried it says so:
    others began before it was shut."""
    shut = known.shut
    if shut is None or shut.cause is not cause:
        return replace(known, **counters)
    return replace(known, shut=None, **counters) if run.began >= shut.until else known


def _one_more(known: Service, *, most: int, used: int) -> Service:
    if not known.limit or 2 * used < known.limit:
        return known
    if known.clean + 1 < CLEAN_RUNS:
        return replace(known, clean=known.clean + 1)
    limit = known.limit + 1
    return replace(known, limit=limit if limit < most else 0, clean=0)


def _less(known: Service, run: Ended, most: int) -> Service:
    """Once for all the runs that were under way together."""
    if run.began <= known.lowered:
        return known
    at_once = min(known.limit or most, most)
    return replace(known, limit=max(1, math.floor(LESS * at_once)), clean=0, lowered=run.at)


def _rest(known: Service, run: Ended) -> Service:
    old = known.rest_of(run.worker.model)
    is_same = old is not None and run.began < old.until
    times = (old.times + (not is_same)) if old is not None else 1
    stated = min(run.wait_s, LONGEST_WAIT_S)
    own = FIRST_PAUSE_S * 2 ** min(times - 1, 20) if times > 1 or not stated else 0
    wait = max(stated, min(own, LONGEST_PAUSE_S))
    until = later(run.at, math.ceil(wait) + _jitter(run.run, wait))
    if old is not None and is_same:
        if until <= old.until or not stated:
            return known
        new = replace(old, until=until)
    else:
        new = Rest(run.worker.model, run.at, until, run.went, run.why, times)
    return replace(known, rests=(*(each for each in known.rests if each is not old), new))


def _jitter(run: str, wait_s: float) -> int:
    """Up to a tenth more, and a second at least, for times are cut to seconds. By the run, not by chance."""
    number = int.from_bytes(hashlib.sha256(run.encode()).digest()[:4])
    return 1 + number % (1 + min(600, int(wait_s) // 10))


def _failed(known: Service, run: Ended) -> Service:
    counter = "refused" if run.went is Went.REFUSED else "broken"
    number = getattr(known, counter) + 1
    found = replace(known, **{counter: number}, failed=run.at)
    if known.shut is not None:
        # Of those that were under way when it was shut nothing more is learned.
        return _shut(known, run) if run.began >= known.shut.until else known
    return _shut(found, run) if number >= FAILURES else found


def _was_empty(known: Service, run: Ended) -> Service:
    if known.shut is not None:
        is_try = known.shut.cause is Went.EMPTY and run.began >= known.shut.until
        return _shut(known, run) if is_try else known
    jobs = (*(each for each in known.empty_jobs if each != run.job), run.job)[-EMPTY_JOBS:]
    found = replace(known, empty=known.empty + 1, empty_jobs=jobs)
    is_over = found.empty >= EMPTY_RUNS and len(jobs) >= EMPTY_JOBS
    return _shut(found, run) if is_over else found


def _shut(known: Service, run: Ended) -> Service:
    old = known.shut
    times = old.times + 1 if old is not None else 1
    wait = _shut_s(times)
    until = later(run.at, wait + _jitter(run.run, wait))
    return replace(known, shut=Shut(old.since if old else run.at, until, run.went, run.why, times))


def _shut_s(times: int) -> int:
    """How long a service is shut the last of so many `times` in a row, beside what is added."""
    return min(LONGEST_SHUT_S, FIRST_SHUT_S << min(max(0, times - 1), 20))


# --- how it is told -----------------------------------------------------------------------------------------------


def told_of_change(was: Service, now: Service) -> str:
    """What became of a service, for the subject of the commit."""
    new = next((each for each in now.rests if each not in was.rests), None)
    if now.shut is not None and now.shut != was.shut:
        return f"shut until {now.shut.until}: {told_of_shut(now)}"
    if was.shut is not None and now.shut is None:
        return "open again"
    if new is not None:
        return f"rests until {new.until}: {_cause_of(new)}"
    if len(now.rests) < len(was.rests):
        return "answers again"
    if now.limit != was.limit:
        return f"takes {f'{now.limit} at once' if now.limit else 'as many at once as it may'}"
    return f"counted: {now.refused + now.broken} failed in a row, {now.empty} empty, {now.clean} clean"


def told_of_bound(now: Service) -> str:
    """What became of a service that was `bounded`, for the subject of the commit."""
    until = max(until_of(now), default="")
    return f"is given more {f'from {until} on at the latest' if until else 'again'}: a clock was ahead"


def is_state_change(was: Service, now: Service) -> bool:
    """Whether more than a counter has changed."""
    return (was.shut, was.rests, was.limit) != (now.shut, now.rests, now.limit)


def until_of(service: Service) -> tuple[str, ...]:
    """The times before which nothing begins on a service, or on a model of it."""
    return tuple(each.until for each in (*service.rests, *((service.shut,) if service.shut else ())))


def trailers_of(run: Ended, used: int) -> tuple[tuple[str, str], ...]:
    """What the commit says beside its subject: of which run it speaks, and how many there were."""
    return (("Job", run.job), ("Run", run.run), ("Went", run.went.value), ("In-Use", str(used)))


def told_of_shut(service: Service) -> str:
    """Why a service is shut, with how often it was so."""
    shut = service.shut
    if shut is None:
        return ""
    count = {Went.REFUSED: service.refused, Went.BROKEN: service.broken, Went.EMPTY: service.empty}[shut.cause]
    if not count:
        # It was shut for something else, and the run that tried it went wrong in this way.
        return f"{SHUT_WORDS[shut.cause]} when it was tried"
    tried = f", and {shut.times - 1} more when it was tried" if shut.times > 1 else ""
    return f"{SHUT_WORDS[shut.cause]} {count} times in a row{tried}"


def what_to_do(service: Service) -> str:
    """Why a service is shut, what it said last, and what a person does about it."""
    shut = service.shut
    if shut is None:
        return ""
    return f"{told_of_shut(service)}{f' ({shut.why})' if shut.why else ''}; {WAYS[shut.cause]}"


def told_of_rest(rest: Rest) -> str:
    """Why a model of a service rests, with what it said."""
    return _cause_of(rest) + (f" ({rest.why})" if rest.why else "")


def _cause_of(rest: Rest) -> str:
    return REST_WORDS[rest.cause] + (f" for {rest.model}" if rest.model else "")


@dataclass(frozen=True, slots=True)
class Use:
    """A run that is under way, or whose work is not looked at yet: on what, and since when; '' if that is not known."""

    backend: str
    model: str
    since: str = ""
    is_run: bool = True
    """It is under way."""


@dataclass(slots=True)
class Capacity:
    """What may begin on one service now. `most` as in `after_run`, 0 where nothing is configured."""

    known: Service
    most: int
    now: str
    uses: list[Use] = field(default_factory=list)

    def resting(self, model: str) -> str:
        """Why nothing begins on a model of it for some time, '' if that is not so."""
        shut, rest = self.known.shut, self.known.rest_of(model)
        if shut is not None and self._is_closed(shut.until, self.uses):
            return f"{self.known.backend} is shut{self._until(shut.until)}: {told_of_shut(self.known)}"
        if rest is not None and self._is_closed(rest.until, [each for each in self.uses if each.model == model]):
            return f"{self.known.backend} rests{self._until(rest.until)}: {told_of_rest(rest)}"
        return ""

    def full(self) -> str:
        """Why nothing more begins on it beside what is under way, '' if something may."""
        known, number = self.known, sum(each.is_run for each in self.uses)
        if told := self._doubtful():
            return told
        limit = min(filter(None, (known.limit, self.most)), default=0)
        return f"{known.backend} takes {limit} at once now" if limit and number >= limit else ""

    def _doubtful(self) -> str:
        """Why no more begin while it is not known whether the next ones will fail like those before, '' if that is so.

        Only what has just begun may fail in the same way. What began since and goes on for long is served, as a run is
        that tries a service: then nothing is in doubt any more, and its end may be an hour away.
        """
        known, failed = self.known, max(self.known.refused, self.known.broken)
        if not failed or known.shut is not None:
            return ""
        runs, long_ago = [each.since for each in self.uses if each.is_run], later(self.now, -TRY_S)
        is_served = any(each and known.failed <= each <= long_ago for each in runs)
        new = sum(not each or long_ago < each <= self.now for each in runs)
        if is_served or new < max(1, FAILURES - failed):
            return ""
        return f"{failed} of the last runs on {known.backend} failed, so {new} new ones at once are enough"

    def _is_closed(self, until: str, uses: list[Use]) -> bool:
        """Before that time, and after it while a run that began since tries it, for a while.

        What began in the time to come did so by a clock that was ahead: for how long it tries it is not known.
        """
        return self.now < until or any(
            not each.since or until <= each.since <= self.now < later(each.since, TRY_S) for each in uses
        )

    def _until(self, until: str) -> str:
        return f" until {until}" if self.now < until else ", and one run tries it"


def use_of(job: Job) -> Use | None:
    """On what service a job has a run, or work that nobody has looked at yet; None if on none."""
    at = job.at
    if job.state is State.RUNNING and at.author is not None:
        return Use(at.author.backend, at.author.model, at.since)
    if job.state is State.COLLECTED and at.author is not None and not job.is_held:
        return Use(at.author.backend, at.author.model, at.since, is_run=False)
    if job.state is State.REVIEWING and at.run and at.reviewer is not None:
        return Use(at.reviewer.backend, at.reviewer.model)
    return None
