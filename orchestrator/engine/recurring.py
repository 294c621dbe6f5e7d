"""Schedules: jobs that the engine makes at their times, and what people ask about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice, takewhile

from orchestrator.adapters.cron import explain, slots_after, zone_of
from orchestrator.adapters.ledger import Filing, format_record, parse_record
from orchestrator.adapters.library import scan_schedules
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.outbox import lower_priority
from orchestrator.core.recurring import (
    MOST_SLOTS,
    Schedule,
    SlotsTaken,
    Turn,
    decide,
    fill_in,
    jitter_of,
    slot_job_id,
)
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Actor, Move
from orchestrator.engine.accept import judge_new, new_job
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, OrcError

FOLDER = "schedules"


@dataclass(frozen=True, slots=True)
class Due:
    """What one schedule comes to: the jobs that it makes, and what is kept of it, both in one update of the ledger."""

    moves: tuple[Move, ...]
    filing: Filing


@dataclass(slots=True)
class Schedules:
    """The schedules of a workspace, looked at in every tick."""

    next: dict[str, tuple[tuple[str, int, str], datetime | None]] = field(default_factory=dict)
    """When each is due next, for one timing, one jitter and one newest slot; None: never."""

    def look(self, ws: Workspace) -> tuple[list[Due], list[str]]:
        """What is due now, and what is wrong with the files, or with the jobs that they would become."""
        shelf = scan_schedules(ws.paths.root)
        now, found, problems = ws.now(), [], [str(problem) for problem in shelf.problems]
        for schedule in shelf.good.values():
            if not schedule.enabled:
                continue
            known = taken_of(ws, schedule.name)
            if known is not None and self._is_early(schedule, known, now):
                continue
            try:
                due = make_due(ws, schedule, known, now)
            except OrcError as error:
                problems.append(f"schedules/{schedule.name}.yaml: {error.message}")
                continue
            found += [due] if due is not None else []
        return found, problems

    def _is_early(self, schedule: Schedule, known: SlotsTaken, now: datetime) -> bool:
        key = (schedule.timing, schedule.jitter_s, known.slot)
        if known.timing != schedule.timing:
            return False
        if self.next.get(schedule.name, (None, None))[0] != key:
            slot = next(slots_after(schedule.cron, schedule.tz, parse(known.slot)), None)
            self.next[schedule.name] = (key, slot and slot + jitter_of(schedule, slot))
        moment = self.next[schedule.name][1]
        return moment is None or now < moment


def make_due(ws: Workspace, schedule: Schedule, known: SlotsTaken | None, now: datetime) -> Due | None:
    """What a schedule comes to now; None if nothing is due. Raises OrcError if its job cannot be accepted."""
    slots: Iterator[datetime] = iter(())
    if known is not None:
        slots = islice(slots_after(schedule.cron, schedule.tz, parse(known.slot)), MOST_SLOTS)
    is_open = known is not None and bool(known.job) and known.job in ws.ledger.snapshot().folders
    turn = decide(schedule, known, takewhile(lambda slot: slot <= now, slots), now, is_open=is_open)
    return _due(ws, schedule, turn) if turn is not None else None


def _due(ws: Workspace, schedule: Schedule, turn: Turn) -> Due:
    moves = tuple(_job_of(ws, schedule, slot, ENGINE) for slot in turn.fire)
    taken = turn.taken
    if moves:
        taken = replace(taken, job=moves[-1].job.id)
    return Due(moves, taken_filing(schedule.name, taken, turn.why, moves))


def _job_of(ws: Workspace, schedule: Schedule, slot: datetime, actor: Actor) -> Move:
    """The step that makes the job of a slot."""
    keys = fill_in(schedule, slot, slot.astimezone(zone_of(schedule.tz)))
    parsed, wanted = judge_new(ws, dump(keys).encode(), f"{schedule.name}.yaml")
    # What nobody asks for at that moment takes no slot that is kept for whoever does.
    priority, note = lower_priority(wanted)
    source = f"schedule {schedule.name} {iso(slot)}"
    id_ = slot_job_id(schedule, slot)
    return new_job(ws, parsed, id_, source=source, priority=priority, actor=actor, lowered=note)


def taken_filing(name: str, taken: SlotsTaken, why: str, moves: tuple[Move, ...] = ()) -> Filing:
    """The record of how far a schedule has been dealt with; it is left out where its job is."""
    facts = (("Schedule", name), ("Slot", taken.slot), ("Job", moves[-1].job.id if moves else ""))
    return Filing(
        f"schedule: {name} {taken.slot}: {why}"[:200],
        {f"{FOLDER}/{name}.yaml": format_record(taken)},
        tuple((key, value) for key, value in facts if value),
        with_step_of=moves[-1].job.id if moves else "",
    )


def taken_of(ws: Workspace, name: str) -> SlotsTaken | None:
    """How far a schedule has been dealt with; None if no engine has seen it yet."""
    path = f"{FOLDER}/{name}.yaml"
    data = ws.ledger.read_file(path)
    return None if data is None else parse_record(SlotsTaken, data, path)


# --- what people ask ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """One schedule, as people see it."""

    name: str
    cron: str
    tz: str
    words: str
    """The expression in English words."""
    enabled: bool
    priority: str
    title: str
    next: str
    """When it is due next, in UTC; '' if never, or if it is switched off."""
    last: str
    """The newest slot that was dealt with; '' if no engine has seen it yet."""
    job: str
    """The newest job that it made."""
    made: int
    missed: int
    skipped: int


def list_schedules(ws: Workspace) -> tuple[list[Listed], list[str]]:
    """Every usable schedule, and what is wrong with the others."""
    shelf = scan_schedules(ws.paths.root)
    return [list_one(ws, each) for each in shelf.good.values()], [str(problem) for problem in shelf.problems]


def list_one(ws: Workspace, schedule: Schedule) -> Listed:
    """One of them."""
    known = taken_of(ws, schedule.name)
    coming = next_slots(ws, schedule, 1) if schedule.enabled else []
    taken = known or SlotsTaken("", "")
    return Listed(
        name=schedule.name,
        cron=schedule.cron,
        tz=schedule.tz,
        words=explain(schedule.cron),
        enabled=schedule.enabled,
        priority=str(schedule.job.get("priority", "")),
        title=str(schedule.job.get("title", "")),
        next=iso(coming[0]) if coming else "",
        last=taken.slot,
        job=taken.job,
        made=taken.made,
        missed=taken.missed,
        skipped=taken.skipped,
    )


def find_schedule(ws: Workspace, name: str) -> Schedule:
    """A schedule by its name. Raises NotFoundError, InvalidFileError if its file is broken."""
    shelf = scan_schedules(ws.paths.root)
    if name in shelf.good:
        return shelf.good[name]
    for problem in shelf.problems:
        if problem.file == f"{FOLDER}/{name}.yaml":
            raise problem
    there = ", ".join(shelf.good) or "none"
    raise NotFoundError(f"there is no schedule {name!r} (there: {there})", hint="orc schedule list")


def next_slots(ws: Workspace, schedule: Schedule, count: int) -> list[datetime]:
    """When it is due next, in UTC, with what its jitter adds."""
    found = islice(slots_after(schedule.cron, schedule.tz, ws.now()), count)
    return [slot + jitter_of(schedule, slot) for slot in found]


def run_now(ws: Workspace, schedule: Schedule, actor: Actor) -> Move:
    """A person has its job made now, beside its slots. Raises InvalidFileError, RefusedError."""
    now = ws.now().replace(microsecond=0)
    move = _job_of(ws, schedule, now, actor)
    if not ws.commit([move]):
        raise OrcError(f"{move.job.id} exists already", hint="try again in a second")
    return move
