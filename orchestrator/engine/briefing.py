"""Briefings: what a person should know in the morning and in the evening, worked out from the records alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from orchestrator.adapters.library import scan_schedules
from orchestrator.core.costs import By, earns_nothing
from orchestrator.core.funnel import STAGES, Funnel
from orchestrator.core.job import State
from orchestrator.core.routine import Report, cut_lines
from orchestrator.engine.costs import look_at_costs, look_at_share
from orchestrator.engine.health import HealthReport, look_at_health
from orchestrator.engine.history import read_ends
from orchestrator.engine.recurring import next_slots
from orchestrator.engine.report import Summary, summarize
from orchestrator.engine.workspace import Workspace

SHOWN = 6
"""So many of each sort are named."""
DAY = timedelta(days=1)
MONTH_DAYS = 30
ENDS = {State.DONE: "done", State.FAILED: "failed", State.CANCELLED: "given up"}
"""How a job may end, in words."""
Ended = Mapping[State, list[str]]
"""Jobs that ended, by how they did, the newest first."""


def brief(ws: Workspace) -> Report:
    """The morning: what waits for the person, first; then what came of the last 24 hours. Raises OrcError."""
    board, health = summarize(ws, errors=False), look_at_health(ws)
    ended = _ended_since(ws, ws.now() - DAY)
    lines = [*_needs(board), *_alerts(health), *_ended(ws, ended), *_output(health.day), _spend(ws, 1)]
    lines += [f"left: {_counts(board)}", *_coming(ws)]
    return _report(board, health, ended, lines)


def review_day(ws: Workspace) -> Report:
    """The evening: what today has brought and cost, and what to think about. Raises OrcError."""
    board, health = summarize(ws, errors=False), look_at_health(ws)
    ended = _ended_since(ws, ws.now().replace(hour=0, minute=0, second=0, microsecond=0))
    lines = [*_needs(board), *_ended(ws, ended), *_output(health.day), *_drops(health.day), _spend(ws, 0)]
    share = look_at_share(ws).told
    lines += [*([share] if share else []), *_worthless(ws), *_alerts(health), f"left: {_counts(board)}"]
    return _report(board, health, ended, lines)


def _report(board: Summary, health: HealthReport, ended: Ended, lines: list[str]) -> Report:
    counts = {state: len(ended[state]) for state in ENDS}
    waiting = len(board.needs)
    summary = f"{waiting} wait{'s' * (waiting == 1)} for you, {counts[State.DONE]} done, {counts[State.FAILED]} failed"
    news = [
        *(each.id for each in board.needs),
        *(id_ for ids in ended.values() for id_ in ids),
        *(each.key for each in health.alerts),
    ]
    return Report(
        summary,
        cut_lines(lines),
        # Where nothing waits, ended or is wrong, there is nothing to tell anybody.
        hashlib.sha256("\n".join(sorted(news)).encode()).hexdigest()[:16] if news else "",
        figures={"waiting": waiting, **{state.value: number for state, number in counts.items()}},
    )


def _ended_since(ws: Workspace, since: datetime) -> Ended:
    """The jobs that ended since then, but for routines."""
    found: dict[State, list[str]] = {state: [] for state in ENDS}
    for id_, step in read_ends(ws, since).items():
        if "Routine" not in step.facts:
            found[State(step.facts["To"])].append(id_)
    return found


def _needs(board: Summary) -> Iterator[str]:
    if not board.needs:
        yield "Nothing waits for you."
        return
    yield f"{len(board.needs)} wait{'s' * (len(board.needs) == 1)} for you:"
    for need in board.needs[:SHOWN]:
        yield f"  {_short(need.what)} ({need.command})"
    yield from _more(board.needs)


def _alerts(health: HealthReport) -> Iterator[str]:
    yield from (f"! {_short(each.text)} ({each.command})" for each in health.alerts[:SHOWN])


def _ended(ws: Workspace, ended: Ended) -> Iterator[str]:
    for state, ids in ended.items():
        if ids:
            yield f"{len(ids)} {ENDS[state]}:"
            yield from (f"  {id_}  {_short(ws.ledger.folder(id_).job.spec.heading)}" for id_ in ids[:SHOWN])
            yield from _more(ids)


def _output(day: Funnel) -> Iterator[str]:
    if any(day.reached.values()):
        yield "24 hours: " + ", ".join(f"{day.reached[stage]} {stage.value}" for stage in STAGES)


def _drops(day: Funnel) -> Iterator[str]:
    if day.dropped:
        told = ", ".join(f"{code} {number}" for code, number in list(day.dropped.items())[:SHOWN])
        yield f"why jobs were held up: {told}"


def _spend(ws: Workspace, days_before: int) -> str:
    today = ws.now().date()
    sums = look_at_costs(ws, today - days_before * DAY, today, By.DAY).total.all
    since = "since yesterday" if days_before else "today"
    return f"spent {since} (UTC): ${sums.microusd / 1_000_000:,.2f}, {sums.tokens:,} tokens, {sums.runs} runs"


def _worthless(ws: Workspace) -> Iterator[str]:
    today = ws.now().date()
    groups = look_at_costs(ws, today - MONTH_DAYS * DAY, today, By.SCHEDULE).groups
    names = [
        name for name, total in groups.items() if earns_nothing(total) and name in scan_schedules(ws.paths.root).good
    ]
    if names:
        yield f"delivered nothing in {MONTH_DAYS} days: {', '.join(names[:SHOWN])} (orc costs --by schedule)"


def _counts(board: Summary) -> str:
    return ", ".join(f"{count} {lane}" for lane, count in board.counts.items()) or "no open job"


def _coming(ws: Workspace) -> Iterator[str]:
    schedules = [each for each in scan_schedules(ws.paths.root).good.values() if each.enabled]
    until = ws.now() + DAY
    # What comes every few minutes is no news to anybody.
    slots = [(found, each.name) for each in schedules if len(found := next_slots(ws, each, 9)) < 9 or found[8] > until]
    coming = sorted((moment, name) for found, name in slots for moment in found if moment <= until)
    if coming:
        yield "due: " + ", ".join(f"{moment:%H:%M} {name}" for moment, name in coming[:SHOWN])


def _more(found: Iterable[object]) -> Iterator[str]:
    number = len(list(found)) - SHOWN
    if number > 0:
        yield f"  and {number} more"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:119]}…"
