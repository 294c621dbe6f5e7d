"""Routines: the maintenance that orc does itself, as jobs like others, in a process of its own and without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Routine(StrEnum):
    """What can be done in this way; so a job names it, as `routine: snapshot`."""

    SNAPSHOT = "snapshot"
    SWEEP = "sweep"
    PACK = "pack"
    ADVANCE = "advance"
    BRIEFING = "briefing"
    DAY_REVIEW = "day-review"
    MAINTENANCE = "maintenance"


ABOUT: Mapping[Routine, str] = {
    Routine.SNAPSHOT: "how each part of the house does, and what to do about those that do not do well",
    Routine.SWEEP: "give back the space of trees that nobody has used for 14 days",
    Routine.PACK: "pack what the ledger and the mirrors hold in loose objects",
    Routine.ADVANCE: "find jobs that have stood still for a day, and have somebody look at them",
    Routine.BRIEFING: "what waits for you, what is done, what failed, and what is due today",
    Routine.DAY_REVIEW: "what this day has brought and cost",
    Routine.MAINTENANCE: "sweep, pack, and prove that git can reach every object",
}
"""What each of them does, for people."""
QUIET = frozenset(Routine) - {Routine.MAINTENANCE}
"""Of these a schedule makes a job only where there is something new to say; the other one proves each night that it is
done."""
REPORT_LINES, REPORT_CHARS = 40, 8_000
MOST_FIGURES = 60


class Health(StrEnum):
    """How one thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class RoutineRecord:
    """`routine-N.yaml`: one run of a routine."""

    number: int
    run: str
    routine: str
    started: str
    ended: str = ""
    seconds: float = 0.0
    status: Health | None = None
    """None while it runs."""
    summary: str = ""
    report: str = ""
    key: str = ""
    """Names what it found. While that is the same, a schedule makes no further job; '' where nothing was to do."""
    states: dict[str, Health] = field(default_factory=dict)
    """What it looked at, part by part."""
    figures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What a routine has to say. `key` as in `RoutineRecord`."""

    summary: str
    lines: tuple[str, ...] = ()
    key: str = ""
    states: Mapping[str, Health] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)

    @property
    def status(self) -> Health:
        """That of the worst part."""
        return worst(self.states.values())


def worst(states: Iterable[Health]) -> Health:
    """The worst of several; of none it is well."""
    order = list(Health)
    return max(states, key=order.index, default=Health.OK)


def is_news(report: Report, before: RoutineRecord | None) -> bool:
    """Whether a routine would say or do something that its newest run on the ledger has not."""
    return bool(report.key) and (before is None or before.key != report.key)


def cut_lines(lines: Iterable[str], most: int = REPORT_LINES) -> tuple[str, ...]:
    """At most so many lines; the last one says how many are left out."""
    found = tuple(lines)
    return found if len(found) <= most else (*found[: most - 1], f"… and {len(found) - most + 1} more lines")
