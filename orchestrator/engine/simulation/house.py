"""A made-up house, played through: the decisions of the real engine, with a clock, agents and a ledger that are not.

Time jumps from one thing that happens to the next. What happens at one moment is done in ticks, as the engine does it,
until nothing moves any more.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile
from random import Random

from orchestrator.adapters.cron import slots_after, zone_of
from orchestrator.adapters.days import day_and_end
from orchestrator.core import recurring
from orchestrator.core.accept import accept
from orchestrator.core.answer import answer
from orchestrator.core.backlog import Backlog
from orchestrator.core.board import AgentView, BaseState, Board, ProjectView, run_kind
from orchestrator.core.config import Config, Project
from orchestrator.core.ids import RunKind, job_id
from orchestrator.core.job import Job, JobSpec, Lane, Priority, State
from orchestrator.core.limits import Book, live_runs, still_within, turn_of
from orchestrator.core.outbox import lower_priority
from orchestrator.core.recurring import Schedule
from orchestrator.core.requests import Drop, judge_drop
from orchestrator.core.scenario import FakeAgent, Scenario, Trial, Work
from orchestrator.core.schedule import CheckBase, SetPressure, StartAttempt, decide
from orchestrator.core.service import TRY_S, until_of
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Actor, Event, Move
from orchestrator.core.usage import BUCKET_S, PRESSURE_PATH, WINDOW_S, Charge
from orchestrator.engine.recurring import Timetable, slots_due
from orchestrator.engine.simulation.figures import Figures
from orchestrator.engine.simulation.ledger import MadeLedger
from orchestrator.engine.simulation.meter import LiveRun, Meter
from orchestrator.engine.simulation.promises import Watch
from orchestrator.engine.simulation.runs import Play, Wanted, draw, play_agent, play_checks, play_routine
from orchestrator.engine.simulation.steps import Steps

PERSON = Actor("human:person")
MOST_TICKS = 2_000
"""An engine that has not come to rest after so many ticks at one moment never will."""
LONGEST_END = timedelta(days=30)
"""So long the last jobs have to come to an end, once nothing new comes."""
_MODEL_RUNS = (RunKind.ATTEMPT, RunKind.REVIEW)
Do = Callable[[], None]
Tell = Callable[[datetime], None]


@dataclass(slots=True)
class Running:
    """A run that goes on. `asks`: it asks a model."""

    job: str
    kind: RunKind
    play: Play
    ends: float
    asks: LiveRun | None = None


@dataclass(slots=True)
class House:
    """The house at one moment. `now` is the true time, `wall` what the machine's clock says."""

    scenario: Scenario
    seed: int
    now: datetime
    skew: timedelta = timedelta()
    is_down: bool = False
    is_closing: bool = False
    agents: dict[str, FakeAgent] = field(init=False)
    views: dict[str, AgentView] = field(init=False)
    ledger: MadeLedger = field(init=False)
    steps: Steps = field(init=False)
    meter: Meter = field(init=False)
    watch: Watch = field(default_factory=Watch)
    figures: Figures = field(init=False)
    backlog: Backlog = field(default_factory=Backlog)
    timetable: Timetable = field(default_factory=Timetable)
    history: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    running: dict[str, Running] = field(default_factory=dict)
    projects: dict[str, ProjectView] = field(init=False)
    first_seen: dict[str, str] = field(default_factory=dict)
    """From which slot on each schedule was there."""
    offered: int = 0
    refused: int = 0
    _events: list[tuple[datetime, int, Do]] = field(default_factory=list)
    _number: int = 0
    _looked: int = 0
    _specs: dict[str, JobSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.agents = dict(self.scenario.agents)
        self.views = {name: agent.view(name) for name, agent in self.agents.items()}
        self.ledger = MadeLedger(self.config)
        self.steps = Steps(self.scenario, self.seed, self.agents, self.ledger)
        self.meter = Meter(self.config.execution_limits)
        self.figures = Figures(self.scenario)
        bases = (
            (name, each, BaseState.GREEN if each.checks else BaseState.NO_CHECKS) for name, each in _projects(self)
        )
        self.projects = {name: ProjectView(each, base, commit=name) for name, each, base in bases}

    @property
    def config(self) -> Config:
        """What holds in the house."""
        return self.scenario.config

    @property
    def wall(self) -> datetime:
        """What the engine takes for the time."""
        return self.now + self.skew

    @property
    def time(self) -> float:
        """The true time, in seconds."""
        return self.now.timestamp()

    @property
    def day(self) -> str:
        """To which day the engine counts what ends now."""
        return day_and_end(self.wall, self.config.execution_limits.tz)[0]

    # --- time ---

    def at(self, moment: datetime, do: Do) -> None:
        """Something is to happen then."""
        self._number += 1
        heapq.heappush(self._events, (moment, self._number, do))

    def play(self, tell: Tell = lambda _: None) -> None:
        """Play it to its end. `tell` is told the time, now and then."""
        last = self.now
        self._settle()
        while (moment := self._next()) is not None:
            if not self.is_closing and moment >= self.scenario.end:
                self._pass(self.scenario.end)
                self.is_closing = True
                continue
            if moment >= self.scenario.end + LONGEST_END or (self.is_closing and not self.ledger.jobs):
                break
            self._pass(moment)
            while self._events and self._events[0][0] <= moment:
                heapq.heappop(self._events)[2]()
            self._settle()
            if self.now - last > timedelta(hours=1):
                last = self.now
                tell(last)
        self.watch.at_end(self, self.offered, self.refused)

    def _pass(self, moment: datetime) -> None:
        seconds = max(0.0, (moment - self.now).total_seconds())
        if not self.is_closing:
            self.watch.passes(self, seconds)
            self.figures.passes(self, seconds)
        self.now = max(moment, self.now)

    def _settle(self) -> None:
        for _ in range(MOST_TICKS):
            if not self.tick():
                self.watch.settled(self)
                return
        self.watch.broke("settles", self, f"it still moves after {MOST_TICKS} ticks")

    def _next(self) -> datetime | None:
        """When something happens next, or the engine might find something to do; None: never."""
        moments = [self._events[0][0]] if self._events else []
        if not self.is_down:
            moments += [moment - self.skew for moment in self._own_moments() if moment > self.wall]
        return min(moments, default=None)

    def _own_moments(self) -> Iterator[datetime]:
        """When the passing of time alone may change what the engine does. The real one just looks every second."""
        if not self.is_closing:
            for each in self.scenario.schedules:
                if (moment := self.timetable.when(each, self.ledger.taken.get(each.name), self.wall)) is not None:
                    yield moment
        if (due := self.backlog.next_change) is not None:
            yield due
        for job in self.ledger.doing.values():
            yield from (parse(text) for text in (job.at.not_before, job.at.expires) if text)
        waits = self.ledger.backlog or any(not job.at.run for job in self.ledger.doing.values())
        if waits:
            yield from (parse(text) for known in self.ledger.services.values() for text in until_of(known))
            if self.ledger.services:
                yield from (parse(job.at.since) + timedelta(seconds=TRY_S) for job in self.ledger.doing.values())
            for bucket in self.ledger.window.buckets:
                yield datetime.fromtimestamp(bucket.at + BUCKET_S + WINDOW_S, UTC)
            yield day_and_end(self.wall, self.config.execution_limits.tz)[1]

    # --- what the engine does, in the order of `engine.tick` ---

    def tick(self) -> bool:
        """One step forward for everything. Whether anything moved."""
        if self.is_down:
            return False
        self.steps.now = iso(self.wall)
        moved = not self.is_closing and self._make_scheduled()
        moved |= self._collect()
        return self._decide() or moved

    def _make_scheduled(self) -> bool:
        moved = False
        for schedule in self.scenario.schedules:
            known = self.ledger.taken.get(schedule.name)
            moment = self.timetable.when(schedule, known, self.wall)
            if moment is None or self.wall < moment:
                continue
            slots = slots_due(schedule, parse(known.slot), self.wall) if known is not None else iter(())
            is_open = known is not None and known.job in self.ledger.jobs
            turn = recurring.decide(schedule, known, slots, self.wall, is_open=is_open)
            if turn is None:
                continue
            fire, taken = recurring.made_of(schedule, turn, self._has)
            self.first_seen.setdefault(schedule.name, taken.slot)
            self.ledger.taken[schedule.name] = taken
            self._commit(self._of_slot(schedule, id_, slot) for id_, slot in fire.items())
            moved = True
        return moved

    def _of_slot(self, schedule: Schedule, id_: str, slot: datetime) -> Move:
        if schedule.name not in self._specs:
            keys = recurring.fill_in(schedule, slot, slot.astimezone(zone_of(schedule.tz)))
            self._specs[schedule.name] = JobSpec.from_file(keys)
        spec = self._specs[schedule.name]
        priority, lowered = lower_priority(self._wanted(spec))
        self.watch.slot_came(self, schedule.name, iso(slot))
        self.offered += 1
        source = f"schedule {schedule.name} {iso(slot)}"
        return self._accept(spec, id_, source, priority, ENGINE, lowered)

    def _wanted(self, spec: JobSpec) -> Priority:
        request = judge_drop(Lane.INBOX, spec)
        assert isinstance(request, Drop)
        return request.priority

    def _accept(
        self, spec: JobSpec, id_: str, source: str, priority: Priority, actor: Actor, lowered: str = ""
    ) -> Move:
        known = {"markdown": False, "source": source, "priority": priority, "actor": actor, "lowered": lowered}
        project = "" if spec.routine else spec.project or next(iter(self.config.projects))
        return accept("", spec, id_=id_, now=iso(self.wall), project=project, **known)  # type: ignore[arg-type]

    def _has(self, id_: str) -> bool:
        return id_ in self.ledger.jobs or id_ in self.ledger.ended

    def _collect(self) -> bool:
        moves = []
        for job in list(self.ledger.doing.values()):
            run = self.running.get(job.at.run) if job.at.run else None
            if run is not None and run.ends <= self.time:
                moves.append(self.steps.ended(job, run.kind, run.play))
        return self._commit(moves)

    def _decide(self) -> bool:
        self.ledger.bound_services(self.wall)
        board = self._board()
        actions = decide(board, self.wall, self.backlog)
        pressed = [self._press(each) for each in actions if isinstance(each, SetPressure)]
        before = tuple(self.meter.live.values())
        limits = self.config.execution_limits
        book = Book(limits, board.spending, live_runs(board.active), engaged=False)
        moves = []
        started = []
        for action in actions:
            if isinstance(action, SetPressure | CheckBase):
                continue
            job = self.ledger.jobs[action.job]
            move = self.steps.act(job, action, self.views)
            if move is None or (move.event in (Event.START, Event.REVIEW) and not still_within(book, move.job)):
                continue
            moves.append(move)
            if isinstance(action, StartAttempt):
                started.append((job, action.agent, action.rule))
        moved = self._commit(moves)
        self.watch.decided(self, started, before)
        return moved or any(pressed)

    def _board(self) -> Board:
        before, changed = self._looked, frozenset(self.ledger.changed)
        self._looked = self.ledger.version
        self.ledger.changed.clear()
        return Board(
            jobs=self.ledger.jobs,
            waiting=self.ledger.backlog,
            doing=tuple(self.ledger.doing.values()),
            version=f"v{self.ledger.version}",
            before=f"v{before}",
            changed=changed,
            config=self.config,
            projects=self.projects,
            agents=self.views,
            history=self.history,
            services=self.ledger.services,
            spending=self.ledger.spending(self.wall),
        )

    def _press(self, action: SetPressure) -> bool:
        used = self.ledger.window.used(int(self.wall.timestamp()))
        used += sum(each.tokens for _, each in live_runs(self.ledger.doing.values()))
        limits, slots = self.config.execution_limits, self.config.slots
        pressure = turn_of(self.ledger.pressure, used, limits, action.ready, slots, iso(self.wall))
        if pressure is None:
            return False
        self.ledger.values[PRESSURE_PATH] = pressure
        self.figures.pressed(self, is_engaged=pressure.engaged)
        return True

    # --- what follows from a step ---

    def _commit(self, moves: Iterable[Move]) -> bool:
        moves = list(moves)
        was = {move.job.id: self.ledger.jobs.get(move.job.id) for move in moves}
        done = self.ledger.commit(moves, self.wall)
        for move, charge in done:
            self._follow(was[move.job.id], move, charge)
        return bool(done)

    def _follow(self, before: Job | None, move: Move, charge: Charge | None) -> None:
        job = move.job
        if before is not None and before.at.run and job.at.run != before.at.run:
            self._run_is_over(before.at.run)
        if job.at.run and (before is None or job.at.run != before.at.run):
            assert before is not None
            self._begin(before, job)
        if move.event is Event.START:
            self.history[job.at.agent][job.at.project] += 1
        if job.state is State.DECIDE and (before is None or before.state is not State.DECIDE):
            self._ask(job)
        self.figures.step(self, before, move, charge)

    def _begin(self, before: Job, job: Job) -> None:
        """The run that the ledger names now is started."""
        kind = run_kind(job)
        assert kind is not None
        if kind not in _MODEL_RUNS:
            is_routine = kind is RunKind.ROUTINE
            seeded = (self.seed, job.at.run)
            play = play_routine(*seeded) if is_routine else play_checks(self.scenario, *seeded)
            self._run(job, kind, play, None)
            return
        is_review = kind is RunKind.REVIEW
        worker = job.at.reviewer if is_review else job.at.author
        assert worker is not None
        number = job.at.review if is_review else job.at.attempt
        expected = self.ledger.records[job.id][f"{kind.value}-{number}"].estimate
        numbers = (expected.tokens, expected.microusd)
        who = (job.id, job.at.project, worker.agent, worker.backend)
        live = LiveRun(*who, job.priority, self.time, *numbers, is_review=is_review)
        self.watch.begins(self, before, live)
        self.meter.begin(job.at.run, live)
        minutes = self.config.limits.review_minutes if is_review else self.steps.terms(job).minutes
        work = self.scenario.work.get(job.at.source.removeprefix("work "), Work())
        wanted = Wanted(
            run=job.at.run,
            backend=worker.backend,
            agent=self.agents[worker.agent],
            began=self.now,
            told=self.steps.told(job, worker.agent),
            size=work.size,
            live=sum(each.backend == worker.backend for each in self.meter.live.values()),
            longest_s=minutes * 60.0,
            is_review=is_review,
        )
        self._run(job, kind, play_agent(self.scenario, self.seed, wanted), live)

    def _run(self, job: Job, kind: RunKind, play: Play, live: LiveRun | None) -> None:
        ends = self.now + timedelta(seconds=max(1.0, play.seconds))
        self.running[job.at.run] = Running(job.id, kind, play, ends.timestamp(), live)
        self.at(ends, lambda: None)

    def _run_is_over(self, name: str) -> None:
        run = self.running.pop(name)
        if run.asks is None:
            if run.kind is RunKind.ROUTINE:
                self.figures.runs["routine"] += 1
            return
        tokens, microusd = self.told_use(run)
        play = run.play
        self.meter.end(name, self.day, self.time, tokens, microusd)
        is_rest = play.trouble.is_of_service and play.trouble.value != "auth"
        is_well = play.changes and not play.is_turned_away
        self.watch.ends(self, run.asks, is_well=is_well, wait_s=play.wait_s, is_rest=is_rest)
        self.figures.run_ended(self, run.asks, play, tokens, microusd)

    def told_use(self, run: Running) -> tuple[int, int]:
        """The tokens and the money that a run counts for, as it is promised: what it told, else what was expected."""
        play, live = run.play, run.asks
        assert live is not None
        if play.usage is not None and play.status is not None:
            price = self.steps.price(self.agents[live.agent].model)
            spoke = play.spoke(price)
            return play.usage.total, (spoke.cost_microusd or 0) if spoke is not None else 0
        is_nothing = play.is_turned_away and play.seconds < 30
        return (0, 0) if is_nothing else (live.tokens, live.microusd)

    # --- people ---

    def hand_in(self, name: str, number: int, *, again: bool = False) -> None:
        """A person drops a job."""
        work = self.scenario.work[name]
        chance = Random(f"{self.seed} {name} {number}")
        wanted = chance.choices(list(work.priority), list(work.priority.values()))[0]
        words = f"{name} {number} " + "word " * max(0, work.prompt * 4 // 5)
        spec = JobSpec(
            prompt=words,
            title=f"{name} {number}",
            kind=work.kind,
            project=work.project,
            agent=work.agent,
            expects=work.expects,
            priority=Priority[wanted],
        )
        id_ = job_id(name, f"{Random(f'{self.seed} {name} {number} {again}').getrandbits(32):08x}")
        self.offered += 1
        move = self._accept(spec, id_, f"work {name}", self._wanted(spec), PERSON)
        if not self._commit([move]):
            self.refused += 1

    def _ask(self, job: Job) -> None:
        person, chance = self.scenario.person, Random(f"{self.seed} {job.id} card {job.at.card}")
        moment = self.now + timedelta(minutes=draw(person.minutes, chance))
        if not person.from_hour <= moment.hour < person.to_hour:
            day = moment.replace(hour=person.from_hour, minute=chance.randrange(60), second=0, microsecond=0)
            moment = day if day > moment else day + timedelta(days=1)
        self.at(moment, partial(self._answer, job.id, job.at.card, is_yes=chance.random() < person.approves))

    def _answer(self, id_: str, number: int, *, is_yes: bool) -> None:
        job = self.ledger.jobs.get(id_)
        if job is None or job.state is not State.DECIDE or job.at.card != number:
            return
        card = self.steps.card(job)
        keys = {option.key for option in card.options}
        # Whoever has tried again a few times gives it up.
        wished = ("approve", "retry") if is_yes and job.at.allowance < 3 else ("revise",) if is_yes else ("drop",)
        key = next((each for each in wished if each in keys), "drop")
        message = "Mend it." if key == "revise" else ""
        self._commit([answer(job, card, key, message, self.steps.terms(job), iso(self.wall), actor=PERSON)])

    def slots_between(self, schedule: Schedule, last: str) -> int:
        """How many slots a schedule had, from when it was first seen up to `last`, by the cron expression alone."""
        first = parse(self.first_seen[schedule.name])
        slots = slots_after(schedule.cron, schedule.tz, first)
        return sum(1 for _ in takewhile(lambda slot: slot <= parse(last), slots))

    # --- what goes wrong with the machine ---

    def engine_stops(self) -> None:
        """The engine is gone, with all that it only remembered."""
        self.is_down = True
        self.backlog, self.timetable = Backlog(), Timetable()
        self.history = defaultdict(Counter)
        self.ledger.works.begin(self.ledger.jobs)

    def engine_starts(self) -> None:
        """Another one goes on from the ledger."""
        self.is_down = False

    def set_clock(self, seconds: int) -> None:
        """Somebody sets the machine's clock."""
        self.skew += timedelta(seconds=seconds)
        self.meter.set_clock(self.time, seconds)
        self.watch.clock_was_set(self)


def _projects(house: House) -> Iterable[tuple[str, Project]]:
    return house.config.projects.items()


def house_of(scenario: Scenario, seed: int) -> House:
    """The house of a scenario before its first moment, with all that will come to it."""
    house = House(scenario, seed, scenario.start)
    for name, work in scenario.work.items():
        _hand_in_over_time(house, name, work)
    for burst in scenario.bursts:
        start, chance = scenario.moment(burst.at), Random(f"{seed} burst {burst.at} {burst.work}")
        for number in range(burst.jobs):
            moment = start + timedelta(minutes=chance.uniform(0, burst.minutes))
            house.at(moment, partial(house.hand_in, burst.work, 1_000_000 + hash_of(burst.at) + number))
    for incident in scenario.incidents:
        start = scenario.moment(incident.at)
        if incident.what is Trial.ENGINE_DOWN:
            house.at(start, house.engine_stops)
            house.at(start + timedelta(minutes=incident.minutes), house.engine_starts)
        elif incident.what is Trial.CLOCK:
            house.at(start, partial(house.set_clock, incident.seconds))
        else:
            # It is looked at when it is over: what waits for that may begin.
            house.at(start + timedelta(minutes=incident.minutes), lambda: None)
    return house


def _hand_in_over_time(house: House, name: str, work: Work) -> None:
    """Jobs come by chance, so many in a day on average, in their hours."""
    chance, number = Random(f"{house.seed} {name}"), 0
    hours = max(1, work.to_hour - work.from_hour)
    moment = house.scenario.start
    while work.per_day and moment < house.scenario.end:
        moment += timedelta(hours=chance.expovariate(work.per_day / hours))
        if not work.from_hour <= moment.hour < work.to_hour:
            opens = moment.replace(hour=work.from_hour, minute=0, second=0, microsecond=0)
            moment = (opens if opens > moment else opens + timedelta(days=1)) + timedelta(
                hours=chance.expovariate(work.per_day / hours)
            )
        if moment >= house.scenario.end:
            return
        number += 1
        house.at(moment, partial(house.hand_in, name, number))
        if chance.random() < work.twins:
            house.at(
                moment + timedelta(seconds=chance.uniform(0, 60)), partial(house.hand_in, name, number, again=True)
            )


def hash_of(text: str) -> int:
    """A number for a text, the same each time, which keeps the jobs of two bursts apart."""
    return Random(text).randrange(1_000) * 10_000
