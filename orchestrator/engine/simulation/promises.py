"""What is promised of every house, held against what a made-up one does, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.core.board import AgentView
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Expects, Job, Priority, State
from orchestrator.core.matching import fits
from orchestrator.core.scenario import Incident, Trial
from orchestrator.core.service import Service
from orchestrator.core.times import parse
from orchestrator.engine.simulation.meter import STEP_S, LiveRun

if TYPE_CHECKING:
    from orchestrator.engine.simulation.house import House

BUSY = 0.95
"""The least share of the slots that is in use while work waits that limits allow."""
AGED_S = 1800
"""Waiting so long raises a job by one priority, at most to P2."""
_TOLD = 5
_REST_S, _SHUT_S = 900 * 1.1 + 60, 14_400 * 1.1 + 60
"""So long after a service is well again it may still be left alone: its longest pause, and the jitter of that."""
_FIRST_S: Mapping[Trial, tuple[int, int]] = {
    Trial.OUTAGE: (5, 900),
    Trial.DEAD_KEY: (300, 14_400),
    Trial.IDLE: (300, 14_400),
}
"""The first pause before it is tried again, and the longest; each is twice the one before."""
_IN_A_ROW = {Trial.OUTAGE: 1, Trial.DEAD_KEY: 3, Trial.IDLE: 5}
"""So many runs have to go wrong until it is left alone."""
_ASTRAY_S = 601
"""So far a clock may be set back without a pause being counted anew."""
_TRY_S = 120
"""So long others wait for the run that tries a service."""
_UNLANDED = (State.COLLECTED, State.CHECKING, State.REVIEWING, State.MERGING, State.LANDING)

WORDS: Mapping[str, str] = {
    "budgets": "no run begins once a limit is used up and set aside, so each is passed by one run at most",
    "slots": "no more runs at once than slots, and one more only for a person's P0",
    "urgent": "a person's P0 begins at once while its reserved slot and an agent for it are free",
    "order": "after 90 minutes a job of the background waits behind nothing but what is urgent or older",
    "background": "with three slots or more the background has one while it has work",
    "busy": f"at least {BUSY:.0%} of the slots are in use while work waits that limits allow",
    "upkeep": "routines run one at a time beside the slots, and the next begins at once",
    "once": "each slot of a schedule becomes one job or none, and none is left out",
    "nothing_lost": "every job that was taken in comes to an end",
    "in_vain": "a service that takes nothing costs its first failures, and one try after each pause",
    "back": "a service that is well again is used again",
    "settles": "the engine comes to rest after each event",
}


@dataclass(slots=True)
class Promise:
    """One promise, and how often it was broken."""

    name: str
    broken: int = 0
    told: list[str] = field(default_factory=list)
    """The first few times, in words."""

    @property
    def words(self) -> str:
        """What is promised."""
        return WORDS[self.name]


@dataclass(slots=True)
class Openings:
    """What may begin at one moment: the agents that have nothing to do, and what the limits let through."""

    idle: list[AgentView]
    room: dict[str, int]
    places: int
    projects: dict[str, int]
    """How many more runs may begin for anybody, and for each project."""
    behind: set[str]
    """Projects of which so much waits to land that nothing new of them is begun."""
    is_pressed: bool
    is_full: bool
    is_full_for_all: bool

    def take(self, job: Job) -> bool:
        """Whether a ready job could begin; its agent is taken then."""
        is_held = self.is_full_for_all if is_urgent(job) else self.is_full
        is_held |= self.is_pressed and job.priority is not Priority.P0
        is_held |= not job.at.attempt and job.priority > Priority.P1 and job.at.project in self.behind
        if is_held or min(self.places, self.projects[job.at.project]) <= 0:
            return False
        for view in self.idle:
            is_bound = job.at.fixes and job.at.agent and job.at.agent != view.soul.name
            if not is_bound and self.room[view.soul.backend] > 0 and fits(view, job):
                self.idle.remove(view)
                self.room[view.soul.backend] -= 1
                self.places -= 1
                self.projects[job.at.project] -= 1
                return True
        return False


@dataclass(slots=True)
class Watch:
    """Holds the promises against what happens."""

    found: dict[str, Promise] = field(default_factory=lambda: {name: Promise(name) for name in WORDS})
    busy_s: float = 0.0
    idle_s: float = 0.0
    """Seconds of slots that were in use while work waited, and of slots that could have been."""
    _slots: set[str] = field(default_factory=set)
    _trouble: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When a service was last in trouble, and how long it may be left alone after that, in seconds, by backend."""
    _tries: dict[int, int] = field(default_factory=dict)
    """Runs that were begun in vain, by the number of the incident."""
    _failed: dict[int, int] = field(default_factory=dict)
    """Runs that came back so, likewise."""
    _idle: int = 0

    def broke(self, name: str, house: House, told: str) -> None:
        """A promise is broken."""
        promise = self.found[name]
        promise.broken += 1
        if len(promise.told) < _TOLD:
            promise.told.append(f"{house.now:%Y-%m-%d %H:%M:%S}: {told}")

    # --- what happens ---

    def begins(self, house: House, job: Job, run: LiveRun) -> None:
        """A run is about to begin; `job` is as it was before."""
        meter, now = house.meter, house.time
        urgent = is_urgent(job)
        for told in meter.refusals(run.project, run.agent, house.day):
            self.broke("budgets", house, f"{job.id} begins by {run.agent} at {told}")
        if meter.is_window_full(now, is_urgent=urgent):
            self.broke("budgets", house, f"{job.id} begins with {meter.window(now):,} tokens in five minutes")
        pressure = house.ledger.pressure
        if pressure is not None and pressure.engaged and job.priority is not Priority.P0:
            self.broke("budgets", house, f"{job.id} begins although only a P0 may: {pressure.told}")
        used = len(meter.live)
        if used > house.config.slots or (used == house.config.slots and not urgent):
            self.broke("slots", house, f"{job.id} ({job.priority.name}) begins beside {used} runs")
        for number, incident in self._wrong(house, run.backend):
            # What is to change nothing may well be done at once, and a verdict too: that looks like any other.
            is_hidden = incident.what is Trial.IDLE and (run.is_review or job.spec.expects is Expects.NO_CHANGE)
            if self._failed.get(number, 0) >= 1 and not is_hidden:
                self._tries[number] = self._tries.get(number, 0) + 1
                self._check_tries(house, number, incident)

    def ends(self, house: House, run: LiveRun, *, is_well: bool, wait_s: float, is_rest: bool) -> None:
        """A run has ended. `is_rest`: it was turned away for a while, and not for its key or its program."""
        if is_well:
            return
        self._trouble[run.backend] = (house.time, max(_REST_S, wait_s * 1.1 + 60) if is_rest else _SHUT_S)
        for number, _ in self._wrong(house, run.backend):
            self._failed[number] = self._failed.get(number, 0) + 1

    def _wrong(self, house: House, backend: str) -> Iterator[tuple[int, Incident]]:
        for number, each in enumerate(house.scenario.incidents):
            start = house.scenario.moment(each.at)
            if each.backend == backend and start <= house.now < start + timedelta(minutes=each.minutes):
                yield number, each
                return  # Of two at once it meets the first.

    def _check_tries(self, house: House, number: int, incident: Incident) -> None:
        first, longest = _FIRST_S[incident.what]
        passed = house.time - house.scenario.moment(incident.at).timestamp()
        pauses, pause = 0, first
        while passed > 0:
            passed -= pause
            pauses, pause = pauses + 1, min(longest, pause * 2)
        # Each model of a service that is down rests on its own.
        if incident.what is Trial.IDLE:
            # It takes three jobs to tell it from work that cannot be done, and two may be tried as often as they may.
            pauses += house.config.slots + 2 * house.config.limits.attempts
        models = {each.model for each in house.agents.values() if each.backend == incident.backend}
        tries = (pauses + 1) * (len(models) if incident.what is Trial.OUTAGE else 1)
        most = _IN_A_ROW[incident.what] + tries
        if self._tries[number] > most:
            told = f"{self._tries[number]} runs were begun on {incident.backend} in vain, {most} are enough"
            self.broke("in_vain", house, told)

    def decided(self, house: House, started: Iterable[tuple[Job, str, str]], before: Collection[LiveRun]) -> None:
        """What one decision has begun: each job as it was before, by whom, by which rule.

        `before`: the runs that there were until then.
        """
        ready = [job for job in house.ledger.waiting if _is_new(job)]
        is_other, background = False, sum(run.priority >= Priority.P3 for run in before)
        for job, agent, rule in started:
            is_share = job.priority >= Priority.P3 and not background
            if _is_new(job) and job.priority >= Priority.P2 and not is_share and not rule.startswith("fallback"):
                self._check_order(house, job, agent, ready)
            background += job.priority >= Priority.P3
            is_other |= job.priority < Priority.P3
        slots = house.config.slots
        background = sum(run.priority >= Priority.P3 for run in house.meter.live.values())
        # Where all were taken before, there was only the one more of a person's P0, which is for nobody else.
        if is_other and slots >= 3 and not background and len(before) < slots <= len(house.meter.live):
            openings = self.openings(house)
            low = next((job for job in ready if job.priority >= Priority.P3 and openings.take(job)), None)
            if low is not None:
                self.broke("background", house, f"{low.id} waits, and nothing of the background runs")

    def _check_order(self, house: House, job: Job, agent: str, ready: Iterable[Job]) -> None:
        mine = rank(job, house.wall)
        for other in ready:
            is_like = other.at.project == job.at.project and other.priority >= Priority.P2
            if is_like and rank(other, house.wall) < mine and fits(house.views[agent], other):
                self.broke("order", house, f"{job.id} ({job.priority.name}) begins before {other.id}")
                return

    def settled(self, house: House) -> None:
        """Nothing moves any more before something else happens."""
        self._idle = 0
        if house.is_down:
            return
        self._check_routines(house)
        if len(house.meter.live) > house.config.slots:
            return
        ready = house.ledger.waiting
        if ready:
            self._look_for_idle(house, ready)
        for name, known in house.ledger.services.items():
            self._check_back(house, name, known)

    def _check_routines(self, house: House) -> None:
        live = sum(run.kind is RunKind.ROUTINE for run in house.running.values())
        waits = [job.id for job in house.ledger.backlog.values() if job.state is State.READY and job.spec.routine]
        if live > 1 or (waits and not live):
            self.broke("upkeep", house, f"{', '.join(waits) or 'none'} of the routines wait beside {live}")

    def _look_for_idle(self, house: House, ready: Iterable[Job]) -> None:
        """Find the slots that are free although something could begin."""
        slots, used, openings = house.config.slots, len(house.meter.live), self.openings(house)
        for job in sorted(ready, key=lambda each: each.priority):
            if not openings.idle or (used + self._idle >= slots and not is_urgent(job)):
                return
            if openings.take(job):
                if is_urgent(job) and _is_new(job):
                    self.broke("urgent", house, f"{job.id} waits, beside {used} runs")
                self._idle += used + self._idle < slots

    def passes(self, house: House, seconds: float) -> None:
        """So much time passes until the next thing happens."""
        if not house.is_down and (self._idle or house.ledger.waiting):
            self.busy_s += seconds * min(len(house.meter.live), house.config.slots)
            self.idle_s += seconds * self._idle

    def _check_back(self, house: House, backend: str, known: Service) -> None:
        for each in house.scenario.incidents:
            end = house.scenario.moment(each.at) + timedelta(minutes=each.minutes)
            if each.backend != backend or house.now < end + timedelta(seconds=_SHUT_S):
                continue
            if known.shut is not None and parse(known.shut.since) < end and house.wall < parse(known.shut.until):
                self.broke("back", house, f"{backend} is shut until {known.shut.until}, and was well at {end}")

    def openings(self, house: House) -> Openings:
        """What may begin now, by what is known outside of orc."""
        meter, busy = house.meter, {run.agent for run in house.meter.live.values() if not run.is_review}
        room = {name: self._room(house, name) for name in {view.soul.backend for view in house.views.values()}}
        idle = [
            view
            for name, view in house.views.items()
            if name not in busy and room[view.soul.backend] > 0 and not meter.reached(("agent", name), house.day)
        ]
        unlanded = Counter(job.at.project for job in house.ledger.doing.values() if job.state in _UNLANDED)
        pressure = house.ledger.pressure
        return Openings(
            idle=idle,
            room=room,
            places=meter.places(("total", ""), house.day),
            projects={name: meter.places(("project", name), house.day) for name in house.projects},
            behind={name for name in house.projects if unlanded[name] >= max(8, 4 * house.config.slots)},
            is_pressed=pressure is not None and pressure.engaged,
            # What is counted in steps is counted for so much longer.
            is_full=meter.is_window_full(house.time, is_urgent=False, late_s=STEP_S),
            is_full_for_all=meter.is_window_full(house.time, is_urgent=True, late_s=STEP_S),
        )

    def _room(self, house: House, backend: str) -> int:
        """How many more runs a service may be given; 0 also while it may be left alone for what happened lately."""
        since, hold = self._trouble.get(backend, (0.0, 0.0))
        if house.time < since + hold:
            return 0
        known = house.ledger.services.get(backend, Service(backend))
        most = min(known.limit or house.config.at_once(backend), house.config.at_once(backend))
        live = [run for run in house.meter.live.values() if run.backend == backend]
        if known.rests or known.shut is not None:
            # However long ago that was: one run tries it first.
            tries = [run for run in live if house.time - run.began < _TRY_S]
            most = min(most, len(live) + (not tries)) if tries or not live else most
        return most - len(live)

    def clock_was_set(self, house: House) -> None:
        """A pause that goes on is then counted anew, where it is not told from one of a clock that was ahead."""
        for name, (_, hold) in self._trouble.items():
            if (known := house.ledger.services.get(name)) is not None and (known.rests or known.shut is not None):
                self._trouble[name] = (house.time, hold + _ASTRAY_S)

    # --- slots, and the end ---

    def slot_came(self, house: House, schedule: str, slot: str) -> None:
        """A slot became a job."""
        name = f"{schedule} {slot}"
        if name in self._slots:
            self.broke("once", house, f"{name} became a second job")
        self._slots.add(name)

    def at_end(self, house: House, offered: int, refused: int) -> None:
        """Nothing new comes any more, and all had time to come to an end."""
        known = len(house.ledger.jobs) + len(house.ledger.ended)
        if offered != known + refused:
            self.broke("nothing_lost", house, f"{offered} were handed in, {refused} refused, and {known} are there")
        for job in house.ledger.jobs.values():
            self.broke("nothing_lost", house, f"{job.id} is {job.state}: {job.why}"[:200])
        for schedule in house.scenario.schedules:
            taken = house.ledger.taken.get(schedule.name)
            made = sum(each.startswith(f"{schedule.name} ") for each in self._slots)
            if taken is None or not schedule.enabled:
                continue
            if taken.made != made:
                self.broke("once", house, f"{schedule.name} says that it made {taken.made}, and made {made}")
            due = house.slots_between(schedule, taken.slot)
            counted = taken.made + taken.missed + taken.skipped
            if counted != due:
                self.broke("once", house, f"{schedule.name} had {due} slots, of which {counted} are accounted for")
        if self.utilisation < BUSY:
            self.broke("busy", house, f"{self.utilisation:.1%} of the slots were in use while work waited")

    @property
    def utilisation(self) -> float:
        """The share of the slots in use while work waited that limits allowed."""
        whole = self.busy_s + self.idle_s
        return self.busy_s / whole if whole else 1.0


def is_urgent(job: Job) -> bool:
    """Whether the reserved slot is for it."""
    return job.priority is Priority.P0 and job.at.origin == "human"


def rank(job: Job, now: datetime) -> tuple[int, str, str]:
    """In what order jobs below the urgent ones are to be served."""
    waited = max(0.0, (now - parse(job.at.since)).total_seconds())
    raised = max(int(Priority.P2), int(job.priority) - int(waited // AGED_S))
    return (min(int(job.priority), raised) if job.priority <= Priority.P2 else raised, job.at.created, job.id)


def _is_new(job: Job) -> bool:
    return job.state is State.READY and not job.at.attempt and not job.is_held
