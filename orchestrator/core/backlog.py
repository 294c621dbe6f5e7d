"""The jobs that wait to start, in order, kept from one decision to the next.

What a decision costs then depends on what has changed, not on how many jobs wait. Nothing here is more than a memory:
a new `Backlog` comes to the same decisions.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestrator.core.actions import Ask, Freed, Hold, Release, Remind
from orchestrator.core.board import Board, age
from orchestrator.core.job import Job, Priority, State
from orchestrator.core.needs import Holds, name_of
from orchestrator.core.records import CardKind
from orchestrator.core.times import parse
from orchestrator.core.waits import CIRCLE, comes_by_itself, is_forgotten, needs_reminder, next_reminder, stale_question

AGEING_S = 1800
"""Waiting this long raises a job by one priority, at most to P2: age never enters the urgent lane."""

Rank = tuple[int, str, str]
"""By what jobs are served: the priority, raised with age; when the job was made; its id."""
Line = tuple[Any, ...]
"""What jobs have in common that decides who could take them: when one of them finds nobody, none does."""
Step = Ask | Freed | Hold | Release | Remind


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found about a job. Without a reason to wait it has a place in a line."""

    job: Job
    reason: str
    line: Line = ()
    rank: Rank = (0, "", "")


@dataclass(slots=True)
class Backlog:
    """What is known of the jobs that are ready or waiting."""

    version: str = ""
    """The version of the board that was looked at last."""
    _context: tuple[Any, ...] = ()
    _known: dict[str, _Known] = field(default_factory=dict)
    _lines: dict[Line, list[Rank]] = field(default_factory=dict)
    _due: list[tuple[datetime, str]] = field(default_factory=list)
    """When the passing of time may change what was found about a job, or raise it."""
    _awaited: set[tuple[datetime, str]] = field(default_factory=set)
    """What is in `_due`: many a job is looked at again and again before its time has come."""
    _routines: set[str] = field(default_factory=set)
    """The jobs that could start and name a routine: they are in no line, for they wait for no agent."""
    _again: set[str] = field(default_factory=set)
    """Jobs for which a step was asked for: looked at again until it was taken."""
    _needing: dict[str, frozenset[str]] = field(default_factory=dict)
    """For each job that has needs: on which ids and names they rest."""
    _needed: dict[str, set[str]] = field(default_factory=dict)
    """The same the other way round."""
    _forgotten: dict[str, set[str]] = field(default_factory=dict)
    """Jobs that have waited long enough for a question, by what they wait for: of each reason one is asked about."""
    _asked_round: set[str] = field(default_factory=set)
    """Jobs that ask because of a circle: it may be broken anywhere, so they are looked at whenever any other is."""
    _is_round: bool = False
    """Whether needs go round in a circle."""
    _ended: Mapping[str, State] = field(default_factory=dict)
    _looked: datetime | None = None

    def look(self, board: Board, now: datetime, holds: Holds) -> list[Step]:
        """Take in what has changed. Returns the steps of jobs that begin or cease to wait, or of which a person is to
        be reminded or asked, the oldest job first."""
        context = _context_of(board)
        is_known = board.version == self.version or (board.changed is not None and board.before == self.version)
        went_back = self._looked is not None and now < self._looked
        if went_back or not (self.version and is_known and context == self._context):
            self._forget()
            stale = {*board.backlog, *(job.id for job in board.active if job.at.stuck)}
        else:
            changed = set(board.changed or ()) if board.version != self.version else set[str]()
            stale = changed | self._who_needs(changed | self._ended_otherwise(board.ended)) | self._again
            while self._due and self._due[0][0] <= now:
                self._awaited.discard(self._due[0])
                stale.add(heapq.heappop(self._due)[1])
            stale |= self._asked_round if stale else set()
        self.version = ""  # Whoever is interrupted begins anew.
        actions = self._take_in(board, now, holds, self._with_circles(board, holds, stale))
        self.version, self._context, self._looked, self._ended = board.version, context, now, board.ended
        return actions

    def _ended_otherwise(self, ended: Mapping[str, State]) -> set[str]:
        """The jobs of which it is not known as before how they ended."""
        return set() if ended is self._ended else {id_ for id_, _ in ended.items() ^ self._ended.items()}

    def _who_needs(self, ids: Iterable[str]) -> set[str]:
        """The jobs that wait for one of these, or for one of its name."""
        return {each for id_ in ids for key in (id_, name_of(id_)) for each in self._needed.get(key, ())}

    def _with_circles(self, board: Board, holds: Holds, stale: set[str]) -> set[str]:
        """What is to be looked at because of `stale`: a circle is told to all that wait for it, however far away."""
        if not stale:
            return stale
        was_round = self._is_round
        self._is_round = holds.look_up(_jobs_of(board, stale))
        if was_round or self._is_round:
            stale = stale | self._needing.keys()
            self._is_round = holds.look_up(_jobs_of(board, stale))
        return stale

    def _forget(self) -> None:
        self._known.clear()
        self._lines.clear()
        self._due.clear()
        self._awaited.clear()
        self._needing.clear()
        self._needed.clear()
        self._again.clear()
        self._routines.clear()
        self._forgotten.clear()
        self._asked_round.clear()
        self._is_round = False

    def _take_in(self, board: Board, now: datetime, holds: Holds, stale: set[str]) -> list[Step]:
        actions: list[Step] = []
        self._again = set()
        entered: dict[Line, list[Rank]] = {}
        for id_ in stale:
            self._remove(id_)
            job = board.backlog.get(id_)
            if job is None:
                actions += self._asking(board, now, id_)
                continue
            reason, needs = holds.reason(job)
            step = _step(job, reason, needs)
            if action := step or _reminder(job, now):
                actions.append(action)
                self._again.add(id_)
            if step is None and is_forgotten(job, now):
                self._forgotten.setdefault(reason, set()).add(id_)
            self._note_needs(job, needs)
            self._note(job, reason, now)
            known = self._known[id_]
            if known.line:
                entered.setdefault(known.line, []).append(known.rank)
        self._enter(entered)
        asked = self._questions(board)
        # The question is the last reminder.
        actions = [*(action for action in actions if action.job not in asked), *asked.values()]
        return sorted(actions, key=lambda action: age(board.jobs[action.job]))

    def _asking(self, board: Board, now: datetime, id_: str) -> list[Freed]:
        """Look at a job that asks about what it waits for, whether that has come."""
        job = board.jobs.get(id_)
        self._asked_round.discard(id_)
        if job is None or job.state is not State.DECIDE or not job.at.stuck or job.is_held:
            return []
        # Apart from those that wait: a circle is told to all that are looked up together.
        reason, needs = Holds(board, now).reason(job)
        self._note_needs(job, needs)
        if reason.startswith(CIRCLE):
            self._asked_round.add(id_)
        if not comes_by_itself(reason):
            return []
        self._again.add(id_)
        return [Freed(id_)]

    def _questions(self, board: Board) -> dict[str, Ask]:
        """What to ask, by job: of all that wait for the same one at a time, for the answer may help them all."""
        if not self._forgotten:
            return {}
        asked = {job.at.reason for job in board.active if job.state is State.DECIDE and job.at.stuck}
        found = {}
        for reason, ids in self._forgotten.items():
            if (question := stale_question(reason)) not in asked:
                oldest = min((board.backlog[id_] for id_ in ids), key=age).id
                context = f"{len(ids)} jobs wait for the same." if len(ids) > 1 else ""
                found[oldest] = Ask(oldest, CardKind.STALE, question, context)
        return found

    def _note_needs(self, job: Job, needs: Mapping[str, str]) -> None:
        if not job.spec.needs:
            return
        # What a need once was found to mean it goes on to mean, whatever else gets that name.
        open_texts = (text for text in job.spec.needs if text not in job.at.needs)
        self._needing[job.id] = keys = frozenset((*open_texts, *needs.values()))
        for key in keys:
            self._needed.setdefault(key, set()).add(job.id)

    def _note(self, job: Job, reason: str, now: datetime) -> None:
        self._await(_next_change(job, now), job)
        if reason or job.state is not State.READY:
            self._known[job.id] = _Known(job, reason)
            return
        rank, raised = _rank(job, now)
        if job.spec.routine:
            self._known[job.id] = _Known(job, reason, rank=rank)
            self._routines.add(job.id)
            return
        self._await(raised, job)
        self._known[job.id] = _Known(job, reason, line_of(job), rank)

    def _await(self, when: datetime | None, job: Job) -> None:
        if when is not None and (when, job.id) not in self._awaited:
            self._awaited.add((when, job.id))
            heapq.heappush(self._due, (when, job.id))

    def _enter(self, entered: dict[Line, list[Rank]]) -> None:
        for line, ranks in entered.items():
            present = self._lines.setdefault(line, [])
            if len(ranks) > 20:
                present += ranks
                present.sort()
            else:
                for rank in ranks:
                    insort(present, rank)

    def _remove(self, id_: str) -> None:
        for key in self._needing.pop(id_, ()):
            self._needed[key].discard(id_)
            if not self._needed[key]:
                del self._needed[key]
        known = self._known.pop(id_, None)
        self._routines.discard(id_)
        if known is not None and known.reason in self._forgotten:
            self._forgotten[known.reason].discard(id_)
            if not self._forgotten[known.reason]:
                del self._forgotten[known.reason]
        if known is None or not known.line:
            return
        ranks = self._lines[known.line]
        at = bisect_left(ranks, known.rank)
        if at < len(ranks) and ranks[at] == known.rank:
            del ranks[at]
        if not ranks:
            del self._lines[known.line]

    def next_routine(self) -> Job | None:
        """Of the jobs that name a routine and could start, the one whose turn it is; None without any."""
        first = min(self._routines, key=lambda id_: self._known[id_].rank, default="")
        return self._known[first].job if first else None

    @property
    def ready(self) -> int:
        """How many jobs could start with an agent, as far as their own reasons go."""
        return sum(map(len, self._lines.values()))

    @property
    def next_change(self) -> datetime | None:
        """When the passing of time may next change what was found about a job, or raise it; None: never by itself."""
        return self._due[0][0] if self._due else None

    def in_order(self, *, low: bool = False) -> Order:
        """The jobs that could start, in the order of service; `low`: those of the background lane only."""
        return Order({line: ranks for line, ranks in self._lines.items() if line[0] or not low}, self._known)


class Order(Iterator[Job]):
    """An order of service over several lines. A line that finds nobody to take its jobs is left with `drop_line`."""

    def __init__(self, lines: dict[Line, list[Rank]], known: dict[str, _Known]) -> None:
        self._known = known
        self._lines = list(lines.values())
        self._heap = [(ranks[0], number, 0) for number, ranks in enumerate(self._lines)]
        heapq.heapify(self._heap)
        self._next: tuple[Rank, int, int] | None = None

    def __next__(self) -> Job:
        if self._next is not None:
            heapq.heappush(self._heap, self._next)
        if not self._heap:
            raise StopIteration
        rank, number, at = heapq.heappop(self._heap)
        ranks = self._lines[number]
        self._next = (ranks[at + 1], number, at + 1) if at + 1 < len(ranks) else None
        return self._known[rank[2]].job

    def drop_line(self) -> None:
        """Leave out all other jobs of the line of the job that was given last."""
        self._next = None


def line_of(job: Job) -> Line:
    """The line in which a job waits."""
    spec = job.spec
    wishes = (spec.agent, spec.backend, spec.model, spec.kind, spec.fallback)
    # Whether it was begun, or is urgent: then it does not wait for the work before it to land.
    goes_on = job.at.attempt > 0 or job.priority <= Priority.P1
    # More is let begin of these than of any others.
    is_persons_p0 = job.priority is Priority.P0 and job.at.origin == "human"
    # Its author goes first with fixes, and may go on with it while it drains.
    author = (job.at.agent, bool(job.at.fixes), job.at.given)
    return (job.priority >= Priority.P3, job.at.project, spec.repairs_base, author, goes_on, is_persons_p0, *wishes)


def _rank(job: Job, now: datetime) -> tuple[Rank, datetime | None]:
    """The rank of a job, and when it is raised next; None if never."""
    raised, when = int(job.priority), None
    if raised > Priority.P2:
        since = parse(job.at.since)
        times = int(max(0.0, (now - since).total_seconds()) // AGEING_S)
        raised = max(int(Priority.P2), raised - times)
        when = since + timedelta(seconds=AGEING_S * (times + 1)) if raised > Priority.P2 else None
    return (raised, *age(job)), when


def _jobs_of(board: Board, ids: Iterable[str]) -> Iterator[Job]:
    return (job for id_ in ids if (job := board.backlog.get(id_)) is not None)


def _step(job: Job, reason: str, needs: dict[str, str]) -> Hold | Release | None:
    if reason and (job.state is State.READY or job.at.reason != reason):
        return Hold(job.id, reason, needs)
    return Release(job.id, needs) if not reason and job.state is State.WAITING else None


def _reminder(job: Job, now: datetime) -> Remind | None:
    return Remind(job.id) if needs_reminder(job, now) else None


def _next_change(job: Job, now: datetime) -> datetime | None:
    """When the passing of time alone may change why a job waits, or brings a reminder."""
    moments = [moment for text in (job.spec.not_before, job.at.not_before) if (moment := _moment(text)) is not None]
    if (reminder := next_reminder(job, now)) is not None:
        moments.append(reminder)
    return min((moment for moment in moments if moment > now), default=None)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return Holds.start_of(text)
    except ValueError:
        return None


def _context_of(board: Board) -> tuple[Any, ...]:
    """All that a reason to wait rests on beside the jobs themselves and the time."""
    projects = tuple((name, view.project, view.problem, view.is_red) for name, view in sorted(board.projects.items()))
    return (board.config, projects, dict(board.agents), board.broken)
