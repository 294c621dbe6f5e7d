"""Health: what comes out, counted from the steps of the ledger, and the alerts that follow from it.

What it costs follows what happened in the time that is looked at, never how much the ledger holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from orchestrator.adapters.cron import slots_after
from orchestrator.adapters.library import scan_schedules
from orchestrator.adapters.locks import lock_is_free
from orchestrator.core.alerts import (
    Alert,
    AlertKind,
    Oldest,
    Stands,
    alert_of_idle,
    alerts_of_gates,
    alerts_of_services,
    find_alerts,
    find_oldest,
    look_at_open,
)
from orchestrator.core.funnel import DAY_S, FACTS, Funnel, Happened, Tally
from orchestrator.core.limits import Refusal
from orchestrator.core.recurring import is_maintenance
from orchestrator.core.share import Share
from orchestrator.core.tally import NOTHING
from orchestrator.core.tally import Tally as Used
from orchestrator.core.times import iso, parse
from orchestrator.core.trials import Broken, find_broken
from orchestrator.engine.costs import look_at_share
from orchestrator.engine.history import read_log
from orchestrator.engine.limits import book_of, list_refusals
from orchestrator.engine.notes import read_note
from orchestrator.engine.project_lines import ProjectLine, project_lines
from orchestrator.engine.recurring import known_with_quiet
from orchestrator.engine.scars import find_odd_gates
from orchestrator.engine.services import Told, read_services, told_services
from orchestrator.engine.workspace import Workspace

WEEK_S = 7 * DAY_S
"""How far back is looked for how long jobs usually stay in a state."""
MOST_STEPS = 100_000
"""So many steps are read at most, the newest, where a person asks."""
SOME_STEPS = 10_000
"""So many are read to learn how long jobs usually stay in a state, and by an engine that begins; then it reads what is
new."""
LOOK_S, BUSY_S = 60.0, 300.0
"""How often the engine looks while it has nothing else to do, and how often at least."""
LOOK_SHARE = 100
"""Where a look takes long, it is taken so seldom that it costs one part in this many of a core."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What came out lately. Times in seconds since 1970."""

    at: int
    day: Funnel
    """The last 24 hours, from which the alerts follow."""
    period: Funnel
    days: tuple[Funnel, ...]
    """The days of the period, by the calendar in UTC, the newest first."""
    oldest: tuple[Oldest, ...]
    parked: int
    """Open jobs that a person holds, or that wait for a date or another job."""
    alerts: tuple[Alert, ...]
    warnings: tuple[str, ...]
    """What somebody should look at, though it may be as it is to be: gates that stopped none or all of their work."""
    steps: int
    """How many steps of the ledger were read."""
    counted_since: int
    """From when on all was read: later than the period where that has more steps than are read."""
    services: tuple[Told, ...] = ()
    """Those that take nothing, or less than they may."""
    projects: tuple[ProjectLine, ...] = ()
    """Those that have a goal."""
    limits: tuple[Refusal, ...] = ()
    """What keeps something from beginning now."""
    share: Share = field(default_factory=Share)
    """That of maintenance in the last seven days."""
    today: Used = NOTHING
    """What is used today, in the time zone of `execution_limits`, with what is set aside for live runs."""
    window: int = 0
    """Tokens of the last five minutes, likewise."""

    @property
    def cards(self) -> Oldest | None:
        """The open questions to a person; None if there is none."""
        return next((each for each in self.oldest if each.state == "decide"), None)


def look_at_health(ws: Workspace, period_s: int = WEEK_S) -> HealthReport:
    """What came out in a period up to now. Raises OrcError."""
    now = int(ws.now().timestamp())
    begin = now - max(period_s, DAY_S)
    tally, number, first = _tally(ws, now - WEEK_S, SOME_STEPS)
    is_whole = number < SOME_STEPS
    if begin < now - WEEK_S or not (is_whole or first < begin):
        tally, number, first = _tally(ws, begin, MOST_STEPS)
        is_whole = number < MOST_STEPS
    stands = look_at_open(ws.ledger.snapshot().jobs)
    today = now - now % DAY_S
    starts = range(today, now - period_s - DAY_S, -DAY_S)
    oldest = find_oldest(tally, stands, now)
    book = book_of(ws)
    return HealthReport(
        at=now,
        day=tally.count(now - DAY_S, now),
        period=tally.count(now - period_s, now),
        days=tuple(tally.count(max(start, now - period_s), min(start + DAY_S - 1, now)) for start in starts),
        oldest=oldest,
        parked=len(stands.parked),
        alerts=(
            *_broken_gates(ws),
            *alerts_of_services(read_services(ws).values()),
            *_alerts(ws, tally, now, oldest, stands),
            *_idle_maintenance(ws),
        ),
        warnings=find_odd_gates(ws),
        share=look_at_share(ws),
        steps=number,
        counted_since=now - period_s if is_whole else max(now - period_s, first),
        services=tuple(told_services(ws)),
        projects=project_lines(ws),
        limits=tuple(list_refusals(ws, book)),
        today=book.today,
        window=book.in_window,
    )


def _tally(ws: Workspace, since: int, most: int) -> tuple[Tally, int, int]:
    """What the newest steps come to, how many there are, and when the first of them was."""
    tally, number, first = Tally(), 0, 0
    for step in read_steps(ws, ws.ledger.tip(), since=since, most=most):
        tally.add(step)
        number, first = number + 1, first or step.at
    return tally, number, first


def _alerts(ws: Workspace, tally: Tally, now: int, oldest: tuple[Oldest, ...], stands: Stands) -> tuple[Alert, ...]:
    limits = ws.config.limits
    patience_s = 60 * (limits.minutes + limits.review_minutes)
    return find_alerts(tally, now, oldest, stands.parked, patience_s=patience_s)


def _idle_maintenance(ws: Workspace) -> tuple[Alert, ...]:
    """Where schedules of maintenance were due in the last day, and none of them came to anything: that."""
    since, due = ws.now() - timedelta(seconds=DAY_S), 0
    for schedule in scan_schedules(ws.paths.root).good.values():
        known = known_with_quiet(ws, schedule) if schedule.enabled and is_maintenance(schedule) else None
        if known is None or known.timing != schedule.timing or known.slot > iso(since) > known.last:
            continue  # It was not there for a day.
        if known.last > iso(since) and not _is_unended(ws, known.job):
            return ()
        coming = next(slots_after(schedule.cron, schedule.tz, since), None)
        due += coming is not None and coming <= ws.now()
    return (alert_of_idle(due),) if due else ()


def _is_unended(ws: Workspace, job: str) -> bool:
    return job in ws.ledger.snapshot().folders


def _broken_gates(ws: Workspace) -> tuple[Alert, ...]:
    """The gates that fail here, and those that failed in the engine at work, which may be of another version."""
    found = {each.key: each for each in alerts_of_gates(find_broken())}
    if not lock_is_free(ws.paths.orcdir / "engine.lock"):
        told = standing_alerts(ws, read_note(ws))
        found = {each.key: each for each in told if each.kind is AlertKind.GATE_BROKEN} | found
    return tuple(found.values())


def read_steps(ws: Workspace, which: str, *, since: int, most: int) -> Iterator[Happened]:
    """The newest steps of a range of commits, the oldest of them first. Raises OrcError."""
    options = ("--reverse", "--first-parent", f"--max-age={since}", f"--max-count={most}")
    for entry in read_log(ws, *options, which, "--", keys=FACTS):
        facts, event = entry.facts, entry.subject.partition(":")[0]
        where = (facts.get("Job", ""), facts.get("From", ""), facts.get("To", ""))
        yield Happened(entry.at, event, *where, facts, entry.subject)


# --- the engine ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Alarms:
    """What an engine counts, and the alerts that stand. It tells each once when it begins and once when it is over."""

    standing: dict[str, Alert] = field(default_factory=dict)
    """By key. At first those of the engine before, which has told them."""
    looked: str = ""
    """When the alerts that stand were last found to be so; '' without any."""
    broken: tuple[Broken, ...] = ()
    """The guards that failed when this engine last tried its gates."""
    _tally: Tally = field(default_factory=Tally)
    _tip: str = ""
    """Up to which commit is counted; '' before the first look."""
    _next: float = field(default_factory=lambda: time.monotonic() + LOOK_S)

    def is_due(self, *, resting: bool) -> bool:
        """Whether it is time to look. `resting`: the engine has nothing else to do."""
        return time.monotonic() >= self._next + (0.0 if resting else BUSY_S - LOOK_S)

    def look(self, ws: Workspace) -> list[str]:
        """Count what is new, and say what has changed. Raises OrcError."""
        begin = time.monotonic()
        self._next = begin + BUSY_S  # Unless it succeeds.
        now = int(ws.now().timestamp())
        self._count(ws, now)
        stands = look_at_open(ws.ledger.snapshot().jobs)
        oldest = find_oldest(self._tally, stands, now)
        shut = alerts_of_services(read_services(ws).values())
        found = (*alerts_of_gates(self.broken), *shut)
        found = (*found, *_alerts(ws, self._tally, now, oldest, stands), *_idle_maintenance(ws))
        before, self.standing = self.standing, {each.key: each for each in found}
        self.looked = ws.stamp() if found else ""
        took = time.monotonic() - begin
        self._next = begin + max(LOOK_S, LOOK_SHARE * took)
        told = [
            f"! {each.text} ({each.command}; orc health)" for key, each in self.standing.items() if key not in before
        ]
        return told + [f"health: no longer so: {each.text}" for key, each in before.items() if key not in self.standing]

    def _count(self, ws: Workspace, now: int) -> None:
        tip = ws.ledger.tip()
        if tip != self._tip:
            which = f"{self._tip}..{tip}"
            if not self._tip:
                which, self._tally = tip, Tally()
            self._tip = ""  # Whatever goes wrong now, the next look begins anew.
            for step in read_steps(ws, which, since=now - WEEK_S, most=SOME_STEPS):
                self._tally.add(step)
            self._tip = tip
        self._tally.forget(counts=now - DAY_S, stays=now - WEEK_S)

    def to_note(self) -> dict[str, Any]:
        """What is kept for other processes, and for the next engine."""
        alerts = [
            {"kind": a.kind, "about": a.about, "text": a.text, "command": a.command} for a in self.standing.values()
        ]
        return {"alerts": alerts, "looked": self.looked}


def alarms_of(note: dict[str, Any]) -> Alarms:
    """The alerts that an engine has noted."""
    found = [each for each in (_alert_of(value) for value in note.get("alerts") or ()) if each is not None]
    return Alarms({each.key: each for each in found}, str(note.get("looked", "")))


def _alert_of(value: Any) -> Alert | None:
    try:
        return Alert(AlertKind(value["kind"]), str(value["about"]), str(value["text"]), str(value["command"]))
    except (TypeError, ValueError, KeyError):
        return None  # A note of another version.


def standing_alerts(ws: Workspace, note: dict[str, Any]) -> list[Alert]:
    """The alerts of an engine's note, while they are not out of date."""
    alarms = alarms_of(note)
    try:
        is_new = ws.now().timestamp() - parse(alarms.looked).timestamp() < DAY_S
    except ValueError:
        return []
    return list(alarms.standing.values()) if is_new else []
