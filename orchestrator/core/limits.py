"""Whether one more run may begin: what is used and set aside is held against the limits, the cheapest question first.

A run may begin while less than a limit is used up. What it is expected to use is set aside then. So a limit is passed
by one run at most, and by what those that have begun use beyond what was expected of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.core.config import Caps, ExecutionLimits
from orchestrator.core.job import Job, Priority
from orchestrator.core.tally import NOTHING, Reservation, Tally
from orchestrator.core.usage import Day, Learned

ENGAGE, RELEASE, URGENT = 0.8, 0.6, 1.1
"""Shares of the window: from where on only P0 begins if many jobs wait, below which all do again, and up to which a
person's P0 still begins."""
DEEP = 2
"""So many jobs for each slot are many."""


class Scope(StrEnum):
    """Whose limit it is."""

    TOTAL = "total"
    PROJECT = "project"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Pressure:
    """`usage/pressure.yaml`: whether only a P0 begins because much was used in the last minutes, and why that is so."""

    engaged: bool
    since: str
    used: int
    """Tokens of the last five minutes, with those that were set aside."""
    budget: int
    ready: int
    """Jobs that could have begun."""
    slots: int

    @property
    def told(self) -> str:
        """Why, in words."""
        return (
            f"{self.used:,} of {self.budget:,} tokens in five minutes, {self.ready} jobs ready for {self.slots} slots"
        )


@dataclass(frozen=True, slots=True)
class Spending:
    """What was used lately, as the ledger has it at one time."""

    day: Day = field(default_factory=Day)
    day_ends: str = ""
    window: int = 0
    """Tokens of the runs that ended in the last five minutes."""
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """By path on the ledger."""
    pressure: Pressure | None = None
    """As it was last said; None if it never was."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no run begins, and until when; '' for what no clock ends."""

    code: str
    scope: Scope
    name: str
    limit: float
    used: float
    until: str = ""

    @property
    def told(self) -> str:
        """`project web: 2 of 2 runs at once; nothing begins until one ends`."""
        whose = "" if self.scope is Scope.TOTAL else f"{self.scope} {self.name}: "
        words, end = _WORDS[self.code]
        form = ",.2f" if self.code == "usd" else ",.0f"
        what = "nothing but a P0 begins" if self.code == "pressure" else "nothing begins"
        return f"{whose}{self.used:{form}} of {self.limit:{form}} {words}; {what} until {self.until or end}"


_WORDS: Mapping[str, tuple[str, str]] = {
    "at_once": ("runs at once", "one ends"),
    "runs": ("runs today", "tomorrow"),
    "tokens": ("tokens today", "tomorrow"),
    "usd": ("US dollars today", "tomorrow"),
    "window": ("tokens in five minutes", "less is used"),
    "pressure": ("tokens in five minutes, and many jobs wait", f"it is less than {RELEASE:.0%}"),
}
"""What each gate counts, and what ends its refusal."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One question: how much is allowed, and how much is used, of what runs now and of what ended today."""

    code: str
    limit: Callable[[Caps], float | None]
    used: Callable[[Tally, Tally], float]


GATES: tuple[Gate, ...] = (
    Gate("at_once", lambda caps: caps.at_once, lambda live, _: live.runs),
    Gate("runs", lambda caps: caps.runs, lambda live, today: live.runs + today.runs),
    Gate("tokens", lambda caps: caps.tokens, lambda live, today: live.tokens + today.tokens),
    Gate("usd", lambda caps: caps.usd, lambda live, today: (live.microusd + today.microusd) / 1_000_000),
)
"""In the order in which they are asked; the first that refuses is told."""


class Book:
    """What is used and set aside, counted up as runs are decided."""

    def __init__(
        self, limits: ExecutionLimits, spending: Spending, live: Iterable[tuple[str, Reservation]], *, engaged: bool
    ) -> None:
        """`live`: the project and the reservation of each live run. `engaged`: as in `Pressure`."""
        self.limits, self.spending, self.engaged = limits, spending, engaged
        self._live: dict[tuple[Scope, str], Tally] = {}
        for project, reserved in live:
            self.take(project, reserved)

    def take(self, project: str, reserved: Reservation) -> None:
        """One more run begins."""
        for key in ((Scope.TOTAL, ""), (Scope.PROJECT, project), (Scope.AGENT, reserved.agent)):
            self._live[key] = self._live.get(key, NOTHING).plus(reserved.tally)

    @property
    def in_window(self) -> int:
        """Tokens of the last five minutes, with those that are set aside."""
        return self.spending.window + self._live.get((Scope.TOTAL, ""), NOTHING).tokens

    @property
    def today(self) -> Tally:
        """What the runs of all used that ended today, with what is set aside for those that go on."""
        return self.spending.day.total.plus(self._live.get((Scope.TOTAL, ""), NOTHING))

    def refusal(self, scope: Scope, name: str = "") -> Refusal | None:
        """Why no run of a project, of an agent or of anybody begins; None if one may."""
        caps, today = self._caps(scope, name), self._today(scope, name)
        live = self._live.get((scope, name), NOTHING)
        for gate in GATES:
            limit = gate.limit(caps)
            if limit is not None and (used := gate.used(live, today)) >= limit:
                until = "" if gate.code == "at_once" else self.spending.day_ends
                return Refusal(gate.code, scope, name, limit, used, until)
        return None

    def window_refusal(self, priority: Priority, *, by_person: bool) -> Refusal | None:
        """Why no job of a priority begins because of the last minutes. `by_person`: whether a person asked for it."""
        budget, used = self.limits.window_tokens, self.in_window
        if budget is None:
            return None
        is_urgent = priority is Priority.P0
        if used >= budget * (URGENT if is_urgent and by_person else 1):
            return Refusal("window", Scope.TOTAL, "", budget, used)
        return Refusal("pressure", Scope.TOTAL, "", budget, used) if self.engaged and not is_urgent else None

    def refusal_of(self, job: Job) -> Refusal | None:
        """Why a job does not begin, whoever could take it."""
        window = self.window_refusal(job.priority, by_person=job.at.origin == "human")
        return window or self.refusal(Scope.TOTAL) or self.refusal(Scope.PROJECT, job.at.project)

    def list_refusals(self, projects: Iterable[str], agents: Iterable[str]) -> Iterator[Refusal]:
        """All that hold now: for everybody, for each of these projects, for each of these agents."""
        window = self.window_refusal(Priority.P1, by_person=False)
        found = [window, self.refusal(Scope.TOTAL), *(self.refusal(Scope.PROJECT, name) for name in projects)]
        found += [self.refusal(Scope.AGENT, name) for name in agents]
        return (each for each in found if each is not None)

    def _caps(self, scope: Scope, name: str) -> Caps:
        match scope:
            case Scope.TOTAL:
                return self.limits.total
            case Scope.PROJECT:
                return self.limits.projects.get(name, self.limits.project)
            case Scope.AGENT:
                return self.limits.agents.get(name, self.limits.agent)

    def _today(self, scope: Scope, name: str) -> Tally:
        day = self.spending.day
        match scope:
            case Scope.TOTAL:
                return day.total
            case Scope.PROJECT:
                return day.projects.get(name, NOTHING)
            case Scope.AGENT:
                return day.agents.get(name, NOTHING)


def live_runs(jobs: Iterable[Job]) -> Iterator[tuple[str, Reservation]]:
    """The project and the reservation of each job for which something is set aside."""
    return ((job.at.project, job.at.reserved) for job in jobs if job.at.reserved is not None)


def still_within(book: Book, job: Job) -> bool:
    """Whether a run that was decided, and is in `job` now, may begin still; it is counted in the book then.

    Of its prompt the decision knew only what the job itself says, and of those decided before it likewise. Here it is
    known what is set aside for each.
    """
    reserved = job.at.reserved
    if reserved is None:
        return True
    if book.refusal_of(job) or book.refusal(Scope.AGENT, reserved.agent):
        return False
    book.take(job.at.project, reserved)
    return True


def is_engaged(was: bool, used: int, budget: int | None, ready: int, slots: int) -> bool:
    """Whether only P0 begins, from whether it was so: between the two shares nothing changes."""
    if budget is None or used < RELEASE * budget:
        return False
    return was or (used > ENGAGE * budget and ready > DEEP * slots)


def turn_of(
    was: Pressure | None, used: int, limits: ExecutionLimits, ready: int, slots: int, now: str
) -> Pressure | None:
    """The pressure from now on, by what is used at this moment; None if it is as it `was`."""
    was_engaged = was is not None and was.engaged
    is_now = is_engaged(was_engaged, used, limits.window_tokens, ready, slots)
    return None if is_now is was_engaged else Pressure(is_now, now, used, limits.window_tokens or 0, ready, slots)
