"""Snapshot: how each part of the house does at this moment, found without a model and always in the same way.

Each part is well, to be looked at, or broken, with the way out in the same line. Changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.adapters.cron import slots_after
from orchestrator.adapters.library import scan_schedules
from orchestrator.core.job import READY_LANES, Job, State
from orchestrator.core.recurring import jitter_of
from orchestrator.core.routine import Health, Report, cut_lines, worst
from orchestrator.core.times import parse
from orchestrator.engine.doctor import examine
from orchestrator.engine.finding import Finding
from orchestrator.engine.limits import book_of, list_refusals
from orchestrator.engine.notes import read_note
from orchestrator.engine.ps import Running, look_at_runs
from orchestrator.engine.recurring import known_with_quiet
from orchestrator.engine.services import told_services
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

SILENT_S, BEAT_S = 900, 120
"""Longer than this an engine that is at work is not silent, nor a run without its heartbeat, which comes every 30 s."""
DAY_S, WEEK_S = 86_400, 7 * 86_400
_LAG = timedelta(minutes=10)
"""So late a slot may be dealt with, and more where its schedule has a jitter: an engine may be busy."""
FSCK_S = 2 * DAY_S
"""So old may be the last proof that git can reach everything."""
_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("git", ("git", "ledger", "mirrors")),
    ("locks", ("git locks", "your git locks")),
    ("gates", ("states", "gate")),
    (
        "agents",
        ("agent", "souls", "soul", "voices", "backend", "backends", "reviewers", "routing", "agents", "possible"),
    ),
    ("files", ("orc.yaml", "project", "skills", "skill", "criteria", "rules", "generated", "spelling", "ignored")),
    ("trees", ("tree", "trees", "kept", "half-made", "runs")),
    ("disk", ("disk",)),
)
"""The parts to which what `orc doctor` finds belongs, by the words with which that begins. The rest is `files`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the house."""

    name: str
    health: Health
    told: str
    hint: str = ""

    @property
    def line(self) -> str:
        """`fail  disk: 0.4 GB free -> make room`."""
        way_out = f" -> {self.hint}" if self.hint and self.health is not Health.OK else ""
        return f"{self.health:<4}  {self.name}: {self.told}{way_out}"


def snapshot(ws: Workspace) -> Report:
    """How each part does now, with the depth of each lane. Raises OrcError."""
    parts = [*_doctored(ws), *_measured(ws)]
    order = list(Health)
    parts.sort(key=lambda part: (-order.index(part.health), part.name))
    states = {part.name: part.health for part in parts}
    bad = [part for part in parts if part.health is not Health.OK]
    told = f"{len(parts)} parts are well" if not bad else ", ".join(f"{each.name} {each.health}" for each in bad)
    return Report(
        summary=told,
        lines=cut_lines(part.line for part in parts),
        # Of what it measures only what is not well any more, or well again, is news.
        key=json.dumps(dict(sorted(states.items())), separators=(",", ":")),
        states=states,
        figures=_figures(ws),
    )


def _doctored(ws: Workspace) -> Iterator[Part]:
    found: dict[str, list[Finding]] = {name: [] for name, _ in _PARTS}
    for finding in examine(ws):
        found[_part_of(finding.what)].append(finding)
    for name, findings in found.items():
        bad = [each for each in findings if each.health is not Health.OK]
        health = worst(each.health for each in findings)
        first = next((each for each in bad if each.health is health), None)
        more = f" (and {len(bad) - 1} more: orc doctor)" if len(bad) > 1 else ""
        if first is not None:
            yield Part(name, health, f"{first.what}: {first.text}{more}", first.hint or "orc doctor")
        elif findings:
            yield Part(name, Health.OK, findings[-1].text if len(findings) == 1 else f"{len(findings)} looked at")


def _part_of(what: str) -> str:
    fits = [
        (len(word), name) for name, words in _PARTS for word in words if what == word or what.startswith(f"{word} ")
    ]
    return max(fits, default=(0, "files"))[1]


def _measured(ws: Workspace) -> Iterator[Part]:
    running = look_at_runs(ws)
    looks: tuple[tuple[str, Callable[[], Part]], ...] = (
        ("engine", lambda: _engine(ws, running)),
        ("runs", lambda: _runs(running)),
        ("queue", lambda: _queue(ws)),
        ("reviews", lambda: _reviews(ws)),
        ("schedules", lambda: _schedules(ws)),
        ("budget", lambda: _budget(ws)),
        ("services", lambda: _services(ws)),
        ("objects", lambda: _objects(ws)),
    )
    for name, look in looks:
        try:
            yield look()
        except (OrcError, OSError) as error:
            yield Part(name, Health.FAIL, f"cannot be looked at: {error}", getattr(error, "hint", ""))


def _engine(ws: Workspace, running: Running) -> Part:
    if not running.engine.running:
        return Part("engine", Health.WARN, "none is at work here", "orc run")
    silent = _age(ws, str(read_note(ws).get("at", "")))
    if silent > SILENT_S:
        return Part("engine", Health.FAIL, f"it has not looked for {silent // 60} min", "end it, then: orc run")
    return Part("engine", Health.OK, "at work")


def _runs(running: Running) -> Part:
    still = [each for each in running.runs if each.beat_age_s is not None and each.beat_age_s > BEAT_S]
    if still:
        return Part("runs", Health.WARN, f"{still[0].run} gives no sign of life", "orc ps")
    return Part("runs", Health.OK, f"{len(running.runs)} alive")


def _queue(ws: Workspace) -> Part:
    oldest = _oldest(_ready(ws))
    age = _age(ws, oldest.at.since) if oldest is not None else 0
    if oldest is not None and age > DAY_S:
        health = Health.FAIL if age > WEEK_S else Health.WARN
        return Part("queue", health, f"{oldest.id} is ready for {age // 3600} h", f"orc show {oldest.id}")
    return Part("queue", Health.OK, "no job is ready for a day")


def _reviews(ws: Workspace) -> Part:
    waiting = [job for job in _open(ws) if job.state is State.REVIEWING and not job.is_held]
    oldest = _oldest(waiting)
    if oldest is not None and (age := _age(ws, oldest.at.since)) > DAY_S:
        return Part("reviews", Health.WARN, f"{oldest.id} waits for its review for {age // 3600} h", "orc doctor")
    return Part("reviews", Health.OK, "none waits for a day")


def _schedules(ws: Workspace) -> Part:
    now, late = ws.now(), []
    for schedule in scan_schedules(ws.paths.root).good.values():
        known = known_with_quiet(ws, schedule)
        if not schedule.enabled or known is None or known.timing != schedule.timing:
            continue
        slot = next(slots_after(schedule.cron, schedule.tz, parse(known.slot)), None)
        if slot is not None and now - slot - jitter_of(schedule, slot) > _LAG:
            late.append(schedule.name)
    if late:
        return Part("schedules", Health.WARN, f"{', '.join(late[:5])} had slots that nobody dealt with", "orc run")
    return Part("schedules", Health.OK, "all slots that came are dealt with")


def _budget(ws: Workspace) -> Part:
    refusals = list_refusals(ws, book_of(ws))
    if refusals:
        return Part("budget", Health.WARN, refusals[0].told, "execution_limits: in orc.yaml")
    return Part("budget", Health.OK, "no limit is reached")


def _services(ws: Workspace) -> Part:
    told = told_services(ws)
    shut = [each for each in told if each.state == "shut"]
    if told:
        first = (shut or told)[0]
        text = f"backend {first.backend} {'is shut' if shut else first.state}"
        return Part("services", Health.FAIL if shut else Health.WARN, text, first.command)
    return Part("services", Health.OK, "all take what they may")


def _objects(ws: Workspace) -> Part:
    """What the nightly proof has said, and whether there has been one lately."""
    from orchestrator.engine.maintenance import last_proof

    proof = last_proof(ws)
    if proof is None:
        return Part("objects", Health.OK, "not proved yet")
    if proof.problem:
        return Part("objects", Health.FAIL, proof.problem, "git fsck, then a clone that is whole")
    if _age(ws, proof.at) > FSCK_S:
        return Part("objects", Health.WARN, f"proved last at {proof.at}", "orc routine maintenance")
    return Part("objects", Health.OK, "git reaches all")


def _figures(ws: Workspace) -> Mapping[str, int]:
    lanes = Counter(job.lane.value for job in _open(ws))
    figures = {f"jobs_{lane}": number for lane, number in sorted(lanes.items())}
    for lane in READY_LANES:
        oldest = _oldest(job for job in _ready(ws) if job.lane is lane)
        if oldest is not None:
            figures[f"oldest_{lane}_s"] = _age(ws, oldest.at.since)
    return figures


def _open(ws: Workspace) -> Iterable[Job]:
    return ws.ledger.snapshot().jobs.values()


def _ready(ws: Workspace) -> list[Job]:
    return [job for job in ws.ledger.snapshot().backlog.values() if job.state is State.READY and not job.is_held]


def _oldest(jobs: Iterable[Job]) -> Job | None:
    return min(jobs, key=lambda job: (job.at.since, job.id), default=None)


def _age(ws: Workspace, since: str) -> int:
    """Seconds since then; 0 where that is not known."""
    try:
        return max(0, int((ws.now() - parse(since)).total_seconds()))
    except ValueError:
        return 0
