"""What the ledger would keep of a made-up house, in memory. Each step is counted by what counts it on the real one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from orchestrator.adapters.days import day_and_end
from orchestrator.core.board import IN_BACKLOG
from orchestrator.core.config import Config
from orchestrator.core.job import Job, State
from orchestrator.core.limits import Pressure, Spending
from orchestrator.core.records import RECORDS
from orchestrator.core.recurring import SlotsTaken
from orchestrator.core.service import Service, bounded, ended_by, use_of
from orchestrator.core.service_load import follow
from orchestrator.core.times import iso
from orchestrator.core.transitions import Move
from orchestrator.core.twins import Works, key_of, may_repeat
from orchestrator.core.usage import (
    LEARNED_FOLDER,
    PRESSURE_PATH,
    WINDOW_PATH,
    Charge,
    Day,
    Learned,
    Window,
    charge_of,
    charged,
    counted,
    day_path,
    ended_record,
)

T = TypeVar("T")
_STEMS: Mapping[type[Any], str] = {kind: name for name, kind in RECORDS.items()}


@dataclass(slots=True)
class MadeLedger:
    """The jobs, their records, and what is kept beside them."""

    config: Config
    jobs: dict[str, Job] = field(default_factory=dict)
    """Those that are open; `backlog` and `doing` are its two parts, as on a board."""
    backlog: dict[str, Job] = field(default_factory=dict)
    doing: dict[str, Job] = field(default_factory=dict)
    ended: dict[str, State] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    """What is kept of usage, by its path on the ledger."""
    learned: dict[str, Learned] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    taken: dict[str, SlotsTaken] = field(default_factory=dict)
    works: Works = field(default_factory=Works)
    version: int = 0
    changed: set[str] = field(default_factory=set)
    """The jobs that were changed since somebody last emptied this."""

    def commit(self, moves: Iterable[Move], now: datetime) -> list[tuple[Move, Charge | None]]:
        """Take the steps that still fit, each with what the run comes to that it ends."""
        done = []
        for move in moves:
            before = self.jobs.get(move.job.id)
            if not self._fits(move, before):
                continue
            done.append(self._put(move, before, now))
        self.version += bool(done)
        return done

    @property
    def waiting(self) -> list[Job]:
        """The jobs that could begin and wait for an agent; for those that name a routine there is none."""
        return [job for job in self.backlog.values() if job.state is State.READY and not job.spec.routine]

    def twin_of(self, job: Job) -> Job | None:
        """The open job that asks for the very same work; None if a new one may be made of `job`."""
        if may_repeat(job):
            return None
        named = self.works.named(key_of(job))
        return next((self.jobs[id_] for id_ in named if id_ in self.jobs and id_ != job.id), None)

    def _fits(self, move: Move, before: Job | None) -> bool:
        if move.was is None:
            return before is None and move.job.id not in self.ended and self.twin_of(move.job) is None
        return before is not None and before.state is move.was and before.at.seq + 1 == move.job.at.seq

    def _put(self, move: Move, before: Job | None, now: datetime) -> tuple[Move, Charge | None]:
        charge = charge_of(before, move.job, move.event, ended_record(before, move)) if before is not None else None
        if charge is not None:
            day = day_and_end(now, self.config.execution_limits.tz)[0]
            values = counted(charge, int(now.timestamp()), day, self._read)
            self.values |= values
            self.learned |= {path: each for path, each in values.items() if path.startswith(LEARNED_FOLDER)}
            move = replace(move, job=charged(move.job, charge))
        # How many runs there were when this one ended.
        uses = [use for job in self.doing.values() if (use := use_of(job)) is not None]
        after = move.job
        own = self.records.setdefault(after.id, {})
        own.update(move.records)
        run = ended_by(move.event, before, after, lambda kind, number: own.get(f"{_STEMS[kind]}-{number}"))
        if run is not None:
            found = follow(run, uses, lambda name: self.services.get(name, Service(name)), self.config)
            self.services |= {name: known for name, (_, known) in found.changed.items()}
        self._note(after)
        return move, charge

    def _note(self, job: Job) -> None:
        for part in (self.jobs, self.backlog, self.doing):
            part.pop(job.id, None)
        if job.state.ended:
            self.ended[job.id] = job.state
            self.records.pop(job.id, None)
        else:
            self.jobs[job.id] = job
            (self.backlog if job.state in IN_BACKLOG else self.doing)[job.id] = job
        self.works.follow(job.id, None if job.state.ended else job)
        self.changed.add(job.id)

    def bound_services(self, now: datetime) -> None:
        """No pause goes on for longer than it was to be."""
        self.services = {name: bounded(known, iso(now)) for name, known in self.services.items()}

    def record(self, kind: type[T], job: str, number: int) -> T:
        """A record of an open job."""
        found = self.records[job][f"{_STEMS[kind]}-{number}"]
        assert isinstance(found, kind)
        return found

    def _read(self, kind: type[Any], path: str) -> Any:
        return self.values.get(path)

    @property
    def pressure(self) -> Pressure | None:
        """What was last said of the last minutes."""
        found: Pressure | None = self.values.get(PRESSURE_PATH)
        return found

    @property
    def window(self) -> Window:
        """What was used in the last minutes."""
        found: Window = self.values.get(WINDOW_PATH) or Window()
        return found

    def spending(self, now: datetime) -> Spending:
        """What was used lately, as a decision sees it."""
        day, end = day_and_end(now, self.config.execution_limits.tz)
        used: Day = self.values.get(day_path(day)) or Day()
        return Spending(used, iso(end), self.window.used(int(now.timestamp())), self.learned, self.pressure)
