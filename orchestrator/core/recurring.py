"""Schedules: which of the slots that have come become jobs, and what is told of the others.

A slot is the minute, in UTC, at which a schedule says that something is due. What was dealt with is kept as the newest
slot, in the same update of the ledger as the job that it became: so no slot becomes two jobs, whatever dies in between,
and a clock that is set back makes nothing due again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from string import Template
from typing import Any

from orchestrator.core.ids import job_id
from orchestrator.core.job import Purpose
from orchestrator.core.times import iso

ON_TIME = timedelta(minutes=2)
"""Later than this a slot counts as missed: an engine looks every few seconds."""
MOST_AT_ONCE = 24
"""So many slots that were missed are made up for at most, the newest."""
MOST_SLOTS = 10_000
"""Of more slots in a row that nobody was there for only those are counted that could still become a job."""
SET_BACK = timedelta(days=1)
"""The newest slot further ahead than this was dealt with by a clock that went wrong."""


class Catchup(StrEnum):
    """What becomes of slots that came while no engine ran."""

    SKIP = "skip"
    LAST = "last"
    """The newest of them, if it lies within the grace."""
    ALL = "all"
    """Each of them that lies within the grace, not too many."""


class Overlap(StrEnum):
    """What becomes of a slot while the job of an earlier one is still open."""

    SKIP = "skip"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`schedules/<name>.yaml`, as a person wrote it."""

    name: str
    cron: str
    tz: str
    """The time zone in which `cron` is read, by its IANA name."""
    job: Mapping[str, Any]
    """The keys of the job that each slot becomes."""
    enabled: bool = True
    catchup: Catchup = Catchup.LAST
    grace_s: int = 3600
    overlap: Overlap = Overlap.SKIP
    jitter_s: int = 0
    blob: str = ""

    @property
    def timing(self) -> str:
        """When it is due, in one line: with another one it begins anew."""
        return f"{self.cron} {self.tz}"


@dataclass(frozen=True, slots=True)
class SlotsTaken:
    """`schedules/<name>.yaml` of the ledger: how far the slots of a schedule have been dealt with."""

    slot: str
    """The newest slot that was dealt with, or when the schedule was first seen: nothing before it becomes a job."""
    timing: str
    """The schedule's, then; '' once it was seen switched off."""
    job: str = ""
    """The newest job that a slot became."""
    made: int = 0
    missed: int = 0
    """Slots for which it was too late, or which a newer one stood in for."""
    skipped: int = 0
    """Slots that came while the job of an earlier one was still open."""
    last: str = ""
    """The newest slot that came; '' if none has yet."""
    quiet: int = 0
    """Slots of a routine that had nothing new to say. They are counted with the next slot that is dealt with here."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The slots of a routine that were looked at beforehand, whether they are worth a job.

    It is no part of the ledger, and may be lost: then the newest slot is looked at once more.
    """

    after: str = ""
    """The slot up to which the ledger has them."""
    slot: str = ""
    """The newest one since that had nothing new to say; '' if none."""
    quiet: int = 0
    """How many had nothing new to say since."""
    asked: str = ""
    """The one that is, or was, looked at last."""
    tries: int = 0
    """How often that was begun."""
    due: bool = False
    """It has something new to say."""
    why: str = ""


MOST_TRIES = 3
"""So often it is tried to look beforehand; then the slot becomes a job, and that tells what is wrong."""


def with_quiet(known: SlotsTaken, quiet: Quiet) -> SlotsTaken:
    """How far the slots have been dealt with, those that had nothing new to say among them."""
    if quiet.after != known.slot or quiet.slot <= known.slot:
        return known
    return replace(known, slot=quiet.slot, last=quiet.slot, quiet=known.quiet + quiet.quiet)


def is_known_due(quiet: Quiet, known: SlotsTaken, slot: str) -> bool:
    """Whether it is known that `slot` is worth a job. What was found for an earlier one that no job was made of since
    holds for it too: a look may take longer than it is from slot to slot."""
    return quiet.due and known.slot < quiet.asked <= slot


def tries_of(quiet: Quiet, known: SlotsTaken, slot: str) -> int:
    """How often it was tried in vain to look, at `slot` or at those before it that are not dealt with."""
    return quiet.tries if known.slot < quiet.asked <= slot else 0


def looked_at(known: SlotsTaken, before: Quiet, slot: str, *, due: bool, why: str) -> Quiet:
    """What is kept once it is known whether a slot is worth a job."""
    before = before if before.after == known.slot else Quiet(known.slot)
    found = replace(before, asked=slot, tries=0, due=due, why=why)
    return found if due else replace(found, slot=slot, quiet=before.quiet + 1)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done about a schedule now: the slots that become jobs, oldest first, and what is kept then."""

    fire: tuple[datetime, ...]
    taken: SlotsTaken
    why: str
    """What happened, in a few words."""


def decide(
    schedule: Schedule, known: SlotsTaken | None, slots: Iterable[datetime], now: datetime, *, is_open: bool
) -> Turn | None:
    """What is due; None if nothing is.

    `slots` are those after the newest one of `known`, in order, of which only those up to now are looked at. `is_open`:
    the job of an earlier slot has not ended.
    """
    wanted = schedule.timing if schedule.enabled else ""
    if wanted != (known.timing if known is not None else ""):
        return _begin_anew(known or SlotsTaken("", ""), wanted, now)
    if known is None or not wanted:
        return None
    due = due_slots(schedule, slots, now)
    if not due:
        return None
    fire = _chosen(schedule, due, now)
    missed = len(due) - len(fire)
    skipped = 0
    if is_open and schedule.overlap is Overlap.SKIP:
        fire, skipped = (), len(fire)
    newest = iso(due[-1])
    taken = replace(known, slot=newest, last=newest, missed=known.missed + missed, skipped=known.skipped + skipped)
    return Turn(fire, replace(taken, made=known.made + len(fire)), _why(len(fire), missed, skipped))


def _begin_anew(before: SlotsTaken, timing: str, now: datetime) -> Turn:
    """Nothing of the past becomes a job where a schedule is new, is switched on or off, or has other times."""
    start = iso(_minute(now))
    if not is_ahead(before, now):
        start = max(start, before.slot)
    if not timing:
        why = "switched off"
    elif before.timing:
        why = "its times were changed"
    else:
        why = "switched on" if before.slot else "seen for the first time"
    return Turn((), replace(before, slot=start, timing=timing), why)


def is_ahead(known: SlotsTaken, now: datetime) -> bool:
    """Whether slots were dealt with that are still to come, by a clock that was ahead: none becomes a job till then."""
    return known.slot > iso(now + SET_BACK)


def is_maintenance(schedule: Schedule) -> bool:
    """Whether the jobs of a schedule keep the house in order."""
    return "routine" in schedule.job or schedule.job.get("purpose") == Purpose.MAINTENANCE


def reach_of(schedule: Schedule) -> timedelta:
    """How long ago a slot may have come that can still become a job."""
    return max(ON_TIME, timedelta(seconds=schedule.grace_s)) + timedelta(seconds=schedule.jitter_s)


def due_slots(schedule: Schedule, slots: Iterable[datetime], now: datetime) -> list[datetime]:
    """The slots that have come, each as late as its jitter makes it."""
    return list(takewhile(lambda slot: slot + jitter_of(schedule, slot) <= now, slots))


def jitter_of(schedule: Schedule, slot: datetime) -> timedelta:
    """How much later than its minute a slot is due: the same each time, and another one for each slot."""
    if not schedule.jitter_s:
        return timedelta()
    digest = hashlib.sha256(f"{schedule.name} {iso(slot)}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) % (schedule.jitter_s + 1))


def _chosen(schedule: Schedule, due: list[datetime], now: datetime) -> tuple[datetime, ...]:
    grace = timedelta(seconds=schedule.grace_s)
    most = ON_TIME if schedule.catchup is Catchup.SKIP else max(ON_TIME, grace)
    in_time = [slot for slot in due if now - slot - jitter_of(schedule, slot) <= most]
    return tuple(in_time[-(MOST_AT_ONCE if schedule.catchup is Catchup.ALL else 1) :])


def _why(made: int, missed: int, skipped: int) -> str:
    told = [f"{made} job{'s' * (made != 1)}"] if made else []
    if skipped:
        told.append(f"{skipped} skipped, for the job before is still open")
    if missed:
        told.append(f"{missed} missed")
    return ", ".join(told)


def slot_job_id(name: str, slot: datetime, *, by_hand: bool = False) -> str:
    """The id of the job that a slot of the schedule `name` becomes: the same each time.

    `by_hand`: a person had it made at that moment, which may be that of a slot.
    """
    what = f"{name} {iso(slot)}{' by hand' * by_hand}"
    return job_id(name, hashlib.sha256(what.encode()).hexdigest()[:8])


def made_of(schedule: Schedule, turn: Turn, is_there: Callable[[str], bool]) -> tuple[dict[str, datetime], SlotsTaken]:
    """The slots that become jobs, by the ids of those, oldest first; and what is kept then.

    A job that is there already is none to make: to try it for ever would keep all later slots from coming.
    """
    ids = {slot_job_id(schedule.name, slot): slot for slot in turn.fire}
    fire = {id_: slot for id_, slot in ids.items() if not is_there(id_)}
    taken = replace(turn.taken, made=turn.taken.made - len(turn.fire) + len(fire))
    return fire, replace(taken, job=list(fire)[-1]) if fire else taken


def fill_in(schedule: Schedule, slot: datetime, local: datetime) -> dict[str, Any]:
    """The job of a slot. In its title and prompt `${date}`, `${time}`, `${slot}` and `${schedule}` are filled in."""
    words = {
        "date": f"{local:%Y-%m-%d}",
        "time": f"{local:%H:%M}",
        "slot": iso(slot),
        "schedule": schedule.name,
    }
    return {
        key: Template(value).safe_substitute(words) if key in ("title", "prompt") and isinstance(value, str) else value
        for key, value in schedule.job.items()
    }


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
