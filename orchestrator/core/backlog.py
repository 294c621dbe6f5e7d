"""The jobs that wait to start, in order, kept from one decision to the next.

What a decision costs then depends on what has changed, not on how many jobs wait. Nothing here is more than a memory:
a new `Backlog` comes to the same decisions.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestrator.core.actions import Hold, Release
from orchestrator.core.board import BaseState, Board, age
from orchestrator.core.job import Job, Priority, State
from orchestrator.core.needs import Holds
from orchestrator.core.times import parse

AGEING_S = 1800
"""Waiting this long raises a job by one priority, at most to P2: age never enters the urgent lane."""

Rank = tuple[int, str, str]
"""By what jobs are served: the priority, raised with age; when the job was made; its id."""
Line = tuple[Any, ...]
"""What jobs have in common that decides who could take them: when one of them finds nobody, none does."""


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
    _again: set[str] = field(default_factory=set)
    """Jobs for which a step was asked for: looked at again until it was taken."""
    _needing: set[str] = field(default_factory=set)
    _looked: datetime | None = None

    def look(self, board: Board, now: datetime, holds: Holds) -> list[Hold | Release]:
        """Take in what has changed. Returns the steps of jobs that begin or cease to wait, the oldest job first."""
        context = _context_of(board)
        is_known = board.version == self.version or (board.changed is not None and board.before == self.version)
        went_back = self._looked is not None and now < self._looked
        if went_back or not (self.version and is_known and context == self._context):
            self._forget()
            stale = set(board.backlog)
        else:
            stale = set(board.changed or ()) if board.version != self.version else set[str]()
            stale |= self._needing if stale else set()
            stale |= self._again
            while self._due and self._due[0][0] <= now:
                self._awaited.discard(self._due[0])
                stale.add(heapq.heappop(self._due)[1])
        self.version, self._context, self._looked = board.version, context, now
        return self._take_in(board, now, holds, stale)

    def _forget(self) -> None:
        self._known.clear()
        self._lines.clear()
        self._due.clear()
        self._awaited.clear()
        self._needing.clear()
        self._again.clear()

    def _take_in(self, board: Board, now: datetime, holds: Holds, stale: set[str]) -> list[Hold | Release]:
        actions: list[Hold | Release] = []
        self._again = set()
        entered: dict[Line, list[Rank]] = {}
        for id_ in stale:
            self._remove(id_)
            job = board.backlog.get(id_)
            if job is None:
                continue
            reason, needs = holds.reason(job)
            if action := _step(job, reason, needs):
                actions.append(action)
                self._again.add(id_)
            self._note(job, reason, now)
            known = self._known[id_]
            if known.line:
                entered.setdefault(known.line, []).append(known.rank)
        self._enter(entered)
        return sorted(actions, key=lambda action: age(board.backlog[action.job]))

    def _note(self, job: Job, reason: str, now: datetime) -> None:
        if job.spec.needs:
            self._needing.add(job.id)
        self._await(_next_change(job, now), job)
        if reason or job.state is not State.READY:
            self._known[job.id] = _Known(job, reason)
            return
        rank, raised = _rank(job, now)
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
        self._needing.discard(id_)
        known = self._known.pop(id_, None)
        if known is None or not known.line:
            return
        ranks = self._lines[known.line]
        at = bisect_left(ranks, known.rank)
        if at < len(ranks) and ranks[at] == known.rank:
            del ranks[at]
        if not ranks:
            del self._lines[known.line]

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
    author = job.at.agent if job.at.fixes else ""
    wishes = (spec.agent, spec.backend, spec.model, spec.kind.value)
    # Whether it was begun, or is urgent: then it does not wait for the work before it to land.
    goes_on = job.at.attempt > 0 or job.priority <= Priority.P1
    return (job.priority >= Priority.P3, job.at.project, spec.repairs_base, author, goes_on, *wishes)


def _rank(job: Job, now: datetime) -> tuple[Rank, datetime | None]:
    """The rank of a job, and when it is raised next; None if never."""
    raised, when = int(job.priority), None
    if raised > Priority.P2:
        since = parse(job.at.since)
        times = int(max(0.0, (now - since).total_seconds()) // AGEING_S)
        raised = max(int(Priority.P2), raised - times)
        when = since + timedelta(seconds=AGEING_S * (times + 1)) if raised > Priority.P2 else None
    return (raised, *age(job)), when


def _step(job: Job, reason: str, needs: dict[str, str]) -> Hold | Release | None:
    if reason and (job.state is State.READY or job.at.reason != reason):
        return Hold(job.id, reason, needs)
    return Release(job.id, needs) if not reason and job.state is State.WAITING else None


def _next_change(job: Job, now: datetime) -> datetime | None:
    """When the passing of time alone may change why a job waits."""
    moments = [moment for text in (job.spec.not_before, job.at.not_before) if (moment := _moment(text)) is not None]
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
    projects = tuple(
        (name, view.project, view.problem, view.base is BaseState.RED) for name, view in sorted(board.projects.items())
    )
    return (board.config, projects, dict(board.agents), dict(board.ended))
