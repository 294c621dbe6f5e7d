"""Schedules: jobs that the engine makes at their times, and what people ask about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile

from orchestrator.adapters.cron import explain, slots_after, zone_of
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record, parse_record
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
    is_ahead,
    jitter_of,
    made_of,
    reach_of,
    slot_job_id,
    with_quiet,
)
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Actor, Move
from orchestrator.engine.accept import judge_new, new_job
from orchestrator.engine.routine_looks import Looks, read_quiet
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, LedgerError, NotFoundError, OrcError

FOLDER = "schedules"


@dataclass(frozen=True, slots=True)
class Due:
    """What one schedule comes to: the jobs that it makes, and what is kept of it, both in one update of the ledger."""

    moves: tuple[Move, ...]
    filing: Filing
    slot: str = ""
    """The newest slot that became a job."""


@dataclass(slots=True)
class Timetable:
    """When schedules are due next, kept from look to look."""

    next: dict[str, tuple[tuple[str, int, str], datetime | None]] = field(default_factory=dict)
    """When each is, for one timing, one jitter and one newest slot; None: never."""

    def when(self, schedule: Schedule, known: SlotsTaken | None, now: datetime) -> datetime | None:
        """When something is to be done about a schedule: now, where it is to begin anew; None: never."""
        wanted = schedule.timing if schedule.enabled else ""
        if wanted != (known.timing if known is not None else ""):
            return now
        if known is None or not wanted:
            return None
        key = (schedule.timing, schedule.jitter_s, known.slot)
        if self.next.get(schedule.name, (None, None))[0] != key:
            slot = next(slots_after(schedule.cron, schedule.tz, parse(known.slot)), None)
            self.next[schedule.name] = (key, slot and slot + jitter_of(schedule, slot))
        return self.next[schedule.name][1]


@dataclass(slots=True)
class Schedules:
    """The schedules of a workspace, looked at in every tick."""

    timetable: Timetable = field(default_factory=Timetable)
    looks: Looks = field(default_factory=Looks)

    def look(self, ws: Workspace) -> tuple[list[Due], dict[str, str]]:
        """What is due now; and by place what is wrong with the files, or with the jobs that they would become."""
        shelf = scan_schedules(ws.paths.root)
        now, found, problems = ws.now(), [], {problem.place: problem.told for problem in shelf.problems}
        for schedule in shelf.good.values():
            file = f"{FOLDER}/{schedule.name}.yaml"
            try:
                known = self.looks.with_quiet(ws, schedule, taken_of(ws, schedule.name))
                if ahead := ahead_problem(schedule, known, now):
                    problems[file] = ahead
                moment = self.timetable.when(schedule, known, now)
                if moment is None or now < moment:
                    continue
                due = make_due(ws, schedule, known, now)
                if due is None or (due.moves and known and not self.looks.is_worth(ws, schedule, known, due.slot)):
                    continue
            except OrcError as error:
                problems[file] = error.told if isinstance(error, InvalidFileError) else error.message
                continue
            found.append(due)
        return found, problems


def make_due(ws: Workspace, schedule: Schedule, known: SlotsTaken | None, now: datetime) -> Due | None:
    """What a schedule comes to now; None if nothing is due. Raises OrcError if its job cannot be accepted."""
    slots = slots_due(schedule, parse(known.slot), now) if known is not None else iter(())
    is_open = known is not None and bool(known.job) and known.job in ws.ledger.snapshot().folders
    turn = decide(schedule, known, slots, now, is_open=is_open)
    return _due(ws, schedule, turn) if turn is not None else None


def slots_due(schedule: Schedule, after: datetime, now: datetime) -> Iterator[datetime]:
    """The slots after `after` up to now; of very many only those that are counted, and those that can become a job."""
    for slot in islice(slots_after(schedule.cron, schedule.tz, after), MOST_SLOTS):
        if slot > now:
            return
        yield slot
        after = slot
    recent = slots_after(schedule.cron, schedule.tz, max(after, now - reach_of(schedule)))
    yield from takewhile(lambda slot: slot <= now, recent)


def _due(ws: Workspace, schedule: Schedule, turn: Turn) -> Due:
    fire, taken = made_of(schedule, turn, ws.ledger.has)
    moves = tuple(_job_of(ws, schedule, slot, ENGINE) for slot in fire.values())
    newest = iso(list(fire.values())[-1]) if fire else ""
    return Due(moves, taken_filing(schedule.name, taken, turn.why, moves), newest)


def known_with_quiet(ws: Workspace, schedule: Schedule) -> SlotsTaken | None:
    """How far a schedule has been dealt with, with the slots that had nothing new to say; None as in `taken_of`."""
    known = taken_of(ws, schedule.name)
    return known and with_quiet(known, read_quiet(ws, schedule.name))


def ahead_problem(schedule: Schedule, known: SlotsTaken | None, now: datetime) -> str:
    """What to say of a schedule whose slots were dealt with by a clock that was ahead; '' for any other."""
    if known is None or not schedule.enabled or known.timing != schedule.timing or not is_ahead(known, now):
        return ""
    return (
        f"makes no job before {known.slot}, up to which its slots were dealt with: was the clock ahead? "
        "To begin anew now, change its `cron`, or switch it off, let the engine see it, and switch it on again"
    )


def _job_of(ws: Workspace, schedule: Schedule, slot: datetime, actor: Actor) -> Move:
    """The step that makes the job of a slot, or the one that a person has made at that moment."""
    keys = fill_in(schedule, slot, slot.astimezone(zone_of(schedule.tz)))
    try:
        parsed, wanted = judge_new(ws, dump(keys).encode(), f"{schedule.name}.yaml")
    except InvalidFileError as error:
        # Its line would be one of a text that nobody has written.
        file, key = f"{FOLDER}/{schedule.name}.yaml", f"job.{error.key}" if error.key else "job"
        raise InvalidFileError(error.reason, file=file, key=key, hint=error.hint) from error
    # What nobody asks for at that moment takes no slot that is kept for whoever does.
    priority, note = lower_priority(wanted)
    source = f"schedule {schedule.name} {iso(slot)}"
    id_ = slot_job_id(schedule.name, slot, by_hand=actor != ENGINE)
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
    """The newest slot that came; '' if none has come since an engine saw it first."""
    job: str
    """The newest job that it made."""
    made: int
    missed: int
    skipped: int
    quiet: int = 0
    """Slots of a routine that had nothing new to say."""


def list_schedules(ws: Workspace) -> tuple[list[Listed], list[str]]:
    """Every usable schedule, and what is wrong with the others, and with what became of their slots."""
    return [list_one(ws, each) for each in scan_schedules(ws.paths.root).good.values()], schedule_problems(ws)


def schedule_problems(ws: Workspace) -> list[str]:
    """What is wrong with the files, and with what became of their slots."""
    shelf = scan_schedules(ws.paths.root)
    told = {name: _slots_problem(ws, schedule) for name, schedule in shelf.good.items()}
    of_slots = [f"{FOLDER}/{name}.yaml: {problem}" for name, problem in told.items() if problem]
    return [*map(str, shelf.problems), *of_slots]


def _slots_problem(ws: Workspace, schedule: Schedule) -> str:
    try:
        return ahead_problem(schedule, taken_of(ws, schedule.name), ws.now())
    except LedgerError as error:
        return error.message


def list_one(ws: Workspace, schedule: Schedule) -> Listed:
    """One of them."""
    known = known_with_quiet(ws, schedule)
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
        last=taken.last,
        job=taken.job,
        made=taken.made,
        missed=taken.missed,
        skipped=taken.skipped,
        quiet=taken.quiet,
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
    now, known = ws.now(), known_with_quiet(ws, schedule)
    # The minute of a slot may have passed, and its jitter not.
    after = now - timedelta(seconds=schedule.jitter_s)
    if known is not None and known.timing == schedule.timing:
        after = max(after, parse(known.slot))
    late = (slot + jitter_of(schedule, slot) for slot in slots_after(schedule.cron, schedule.tz, after))
    return list(islice((moment for moment in late if moment > now), count))


def run_now(ws: Workspace, schedule: Schedule, actor: Actor) -> Move:
    """A person has its job made now, beside its slots. Raises InvalidFileError, RefusedError."""
    now = ws.now().replace(microsecond=0)
    move = _job_of(ws, schedule, now, actor)
    if not ws.commit([move]):
        raise OrcError(f"{move.job.id} exists already", hint="try again in a second")
    return move
