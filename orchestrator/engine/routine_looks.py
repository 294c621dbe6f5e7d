"""Looking beforehand whether the slot of a routine is worth a job, so that a quiet house does not fill its ledger.

It is done by a process of its own, `orc routine NAME --look`, which leaves a small file beside the ledger: a snapshot
takes seconds, and the engine waits for nobody. If the file is lost the slot is looked at again, which changes nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from orchestrator.adapters.descendants import is_alive
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.programs import start_in_background
from orchestrator.core.codec import from_mapping
from orchestrator.core.recurring import (
    MOST_TRIES,
    Quiet,
    Schedule,
    SlotsTaken,
    is_known_due,
    looked_at,
    tries_of,
    with_quiet,
)
from orchestrator.core.routine import QUIET, Report, Routine, RoutineRecord, is_news
from orchestrator.engine.routine import OWN_MODULES, WALL_S, command
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError


def routine_of(schedule: Schedule) -> Routine | None:
    """The routine that a schedule makes jobs of only where there is something new to say; None of any other."""
    name = schedule.job.get("routine")
    return Routine(name) if name in QUIET else None


@dataclass(slots=True)
class Looks:
    """What an engine knows of the looks at its schedules."""

    _known: dict[str, Quiet] = field(default_factory=dict)
    _looking: dict[str, tuple[int, float]] = field(default_factory=dict)
    """The processes that look, and when they were begun by the clock that only goes on, by schedule."""

    def with_quiet(self, ws: Workspace, schedule: Schedule, known: SlotsTaken | None) -> SlotsTaken | None:
        """How far a schedule has been dealt with, with the slots that had nothing new to say."""
        if known is None or routine_of(schedule) is None:
            return known
        looking = self._looking.get(schedule.name)
        # One that hangs is not waited for without end: another is begun, and after some tries a job tells of it.
        if looking is not None and (not is_alive(looking[0]) or time.monotonic() - looking[1] > WALL_S):
            del self._looking[schedule.name]
        if schedule.name not in self._known or looking is not None:
            self._known[schedule.name] = read_quiet(ws, schedule.name)
        return with_quiet(known, self._known[schedule.name])

    def is_worth(self, ws: Workspace, schedule: Schedule, known: SlotsTaken, slot: str) -> bool:
        """Whether a slot is to become a job, as far as that is known. Where it is not, somebody is sent to look.

        `known` as `with_quiet` gave it.
        """
        if routine_of(schedule) is None:
            return True
        if schedule.name in self._looking:
            return False
        found = self._known.get(schedule.name, Quiet())
        tries = tries_of(found, known, slot)
        if tries >= MOST_TRIES or is_known_due(found, known, slot):
            return True
        write_quiet(ws, schedule.name, replace(found, asked=slot, tries=tries + 1, due=False))
        with effect(Effect.RUN_SPAWN):
            pid = start_in_background(command(ws.paths.root, "--look", schedule.name, "--slot", slot), OWN_MODULES)
        self._looking[schedule.name] = (pid, time.monotonic())
        return False


def note_look(ws: Workspace, schedule: Schedule, known: SlotsTaken, slot: str, report: Report) -> Quiet:
    """Keep whether a slot is worth a job, by what its routine would say. Raises OrcError."""
    is_due = is_news(report, _newest(ws, known))
    found = looked_at(known, read_quiet(ws, schedule.name), slot, due=is_due, why=report.summary)
    write_quiet(ws, schedule.name, found)
    return found


def _newest(ws: Workspace, known: SlotsTaken) -> RoutineRecord | None:
    """What the newest job of a schedule said; None if it has not said anything."""
    if not known.job:
        return None
    try:
        folder = ws.ledger.folder(known.job)
    except NotFoundError:
        return None
    if not folder.job.at.routine:
        return None
    record = ws.ledger.record(RoutineRecord, folder, f"routine-{folder.job.at.routine}")
    return record if record.ended else None


def read_quiet(ws: Workspace, schedule: str) -> Quiet:
    """What is kept of the looks at a schedule; nothing, where that cannot be read."""
    try:
        return from_mapping(Quiet, json.loads(_place(ws, schedule).read_bytes()))
    except (OSError, ValueError):
        return Quiet()


def write_quiet(ws: Workspace, schedule: str, found: Quiet) -> None:
    """Keep it. It may be lost, so nothing is flushed."""
    place = _place(ws, schedule)
    with effect(Effect.CACHE_WRITE):
        ensure_folder(place.parent)
        write_atomic(place, json.dumps(asdict(found)).encode(), sync=False)


def _place(ws: Workspace, schedule: str) -> Path:
    return ws.paths.routines / f"{schedule}.slot.json"
