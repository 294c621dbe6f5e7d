"""What happened in a made-up house, in figures: waits, runs, money, what held work back; and the same over time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING

from orchestrator.core.job import Job, Lane, Priority, State
from orchestrator.core.limits import Book, live_runs
from orchestrator.core.scenario import Scenario
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event, Move
from orchestrator.core.usage import Charge
from orchestrator.engine.simulation.meter import LiveRun
from orchestrator.engine.simulation.runs import Play

if TYPE_CHECKING:
    from orchestrator.engine.simulation.house import House

MOST_COLUMNS = 168
"""So many points in time are kept: of a week each hour."""
P0 = "P0"
LANES = (P0, Lane.URGENT.value, Lane.NORMAL.value, Lane.BACKGROUND.value)
READY = (Lane.URGENT.value, Lane.NORMAL.value, Lane.BACKGROUND.value)


@dataclass(slots=True)
class Column:
    """A stretch of time. `ready` and `slots` are sums over its seconds."""

    since: str
    seconds: float = 0.0
    ready: float = 0.0
    slots: float = 0.0
    window: int = 0
    """The most tokens in five minutes, with those that were set aside."""
    microusd: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Waits:
    """How long jobs of a lane waited for their first run, in seconds."""

    jobs: int
    median: float
    p95: float
    longest: float


@dataclass(slots=True)
class Figures:
    """Counted while the house is played."""

    scenario: Scenario
    columns: list[Column] = field(init=False)
    waits: dict[str, list[float]] = field(default_factory=lambda: {lane: [] for lane in LANES})
    runs: Counter[str] = field(default_factory=Counter)
    """`attempt` and `review`, and how they ended that did not go well."""
    jobs: Counter[str] = field(default_factory=Counter)
    cards: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    microusd: int = 0
    held_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """How long a limit kept something from beginning while work waited, by the limit in words."""
    away_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """How long nothing began on a backend, or on a model of it."""
    pressures: int = 0
    pressed_s: float = 0.0
    shares: list[float] = field(default_factory=list)
    """Of each run that told it: what it used, as a share of what was expected."""
    _width: float = 0.0
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        whole = (self.scenario.end - self.scenario.start).total_seconds()
        self._width = max(60.0, whole / MOST_COLUMNS)
        starts = range(ceil(whole / self._width))
        self.columns = [Column(iso(self.scenario.start + timedelta(seconds=n * self._width))) for n in starts]

    def _column(self, house: House) -> Column:
        at = int((house.now - self.scenario.start).total_seconds() // self._width)
        return self.columns[min(max(0, at), len(self.columns) - 1)]

    def passes(self, house: House, seconds: float) -> None:
        """So much time passes in which nothing moves."""
        ready = len(house.ledger.waiting)
        used, left, now = len(house.meter.live), seconds, house.now
        while left > 0:
            at = int((now - self.scenario.start).total_seconds() // self._width)
            if at >= len(self.columns):
                break
            end = self.scenario.start + timedelta(seconds=(at + 1) * self._width)
            part = min(left, max(0.001, (end - now).total_seconds()))
            column = self.columns[at]
            column.seconds += part
            column.ready += part * ready
            column.slots += part * used
            column.window = max(column.window, house.meter.window(house.time))
            now, left = now + timedelta(seconds=part), left - part
        if ready and not house.is_down:
            self._held(house, seconds)
        for name, known in house.ledger.services.items():
            if known.shut is not None or known.rests:
                self.away_s[name] += seconds

    def _held(self, house: House, seconds: float) -> None:
        pressure = house.ledger.pressure
        engaged = pressure is not None and pressure.engaged
        self.pressed_s += seconds * engaged
        live = live_runs(house.ledger.doing.values())
        book = Book(house.config.execution_limits, house.ledger.spending(house.wall), live, engaged=engaged)
        for each in book.list_refusals(house.config.projects, house.agents):
            self.held_s[" ".join(filter(None, (each.scope.value, each.name, each.code)))] += seconds

    def pressed(self, house: House, *, is_engaged: bool) -> None:
        """From now on only a P0 begins, or that is over."""
        self.pressures += is_engaged

    def step(self, house: House, before: Job | None, move: Move, charge: Charge | None) -> None:
        """A job has made a step."""
        job = move.job
        if move.event is Event.START and job.id not in self._seen:
            self._seen.add(job.id)
            is_p0 = job.priority is Priority.P0
            waited = max(0.0, (house.wall - parse(job.at.created)).total_seconds())
            self.waits[P0 if is_p0 else job.priority.lane.value].append(waited)
        if job.state is State.DECIDE and before is not None and before.state is not State.DECIDE:
            self.cards[house.steps.card(job).kind.value] += 1
        if job.state.ended:
            self.jobs[job.state.value] += 1

    def run_ended(self, house: House, run: LiveRun, play: Play, tokens: int, microusd: int) -> None:
        """A run that asked a model has ended."""
        self.runs["review" if run.is_review else "attempt"] += 1
        if play.is_turned_away:
            self.runs["turned away"] += 1
        elif play.status is None:
            self.runs["died"] += 1
        elif play.exit != 0:
            self.runs["failed"] += 1
        if play.usage is not None and play.status is not None and not play.is_turned_away and run.tokens:
            self.shares.append(play.usage.total / run.tokens)
        self.tokens += tokens
        self.microusd += microusd
        column = self._column(house)
        column.tokens += tokens
        column.microusd += microusd

    def waits_of(self, lane: str) -> Waits:
        """How long the jobs of a lane waited."""
        found = sorted(self.waits[lane])
        return Waits(len(found), part(found, 0.5), part(found, 0.95), found[-1] if found else 0.0)


def part(values: Sequence[float], share: float) -> float:
    """The value below which this share of sorted values lies; 0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0
