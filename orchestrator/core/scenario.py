"""A made-up house to try policies on: its agents, the work that comes, and what goes wrong, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.core.agent import Soul
from orchestrator.core.board import AgentView
from orchestrator.core.config import Config
from orchestrator.core.job import Expects, Kind
from orchestrator.core.recurring import Schedule


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number falls: half of all below `median`, 19 of 20 below `p95`, with a long tail above."""

    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class FakeAgent:
    """An agent that nobody is: how long its runs take, what they use, and how they go wrong. Shares are of 1."""

    backend: str
    model: str
    minutes: Spread
    tokens: Spread
    """What a run uses beside what it is told."""
    family: str = ""
    roles: tuple[str, ...] = ("work", "review")
    kinds: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    copies: int = 1
    told: int = 3000
    """Tokens of a prompt beside the job's own words: the rules, the soul, the skills."""
    fails: float = 0.0
    """Its program ends with an error, having done something."""
    breaks: float = 0.0
    """Its program ends at once with an error, having done nothing."""
    dies: float = 0.0
    """The run leaves no result."""
    silent: float = 0.0
    """Its program does not tell what it used."""
    approves: float = 0.85
    """Of the work that it judges."""
    unclear: float = 0.0
    """Its verdict has no clear form."""

    def view(self, name: str) -> AgentView:
        """The agent as a decision sees it."""
        soul = Soul(
            name=name,
            backend=self.backend,
            model=self.model,
            roles=self.roles,
            kinds=self.kinds,
            projects=self.projects,
        )
        return AgentView(soul, self.family, self.model)


@dataclass(frozen=True, slots=True)
class FakeService:
    """What a backend really takes, which orc is not told."""

    at_once: int = 0
    """More runs at once are turned away; 0: none are."""
    limited: float = 0.0
    """Of its runs this share is turned away for no reason that anybody knows."""
    retry_after_s: int = 0
    """How long it asks to be left alone then; 0: it does not say."""


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs of one sort that people hand in."""

    per_day: float = 0.0
    from_hour: int = 0
    to_hour: int = 24
    """The hours (UTC) in which they come."""
    priority: dict[str, float] = field(default_factory=lambda: {"P2": 1.0})
    """How often each priority is asked for, as weights."""
    kind: str = Kind.CODE.value
    project: str = "main"
    agent: str = ""
    expects: Expects = Expects.CHANGE
    size: float = 1.0
    """Its runs take so many times as long, and use as much."""
    prompt: int = 400
    """Tokens of a job's own words."""
    twins: float = 0.0
    """This share is handed in twice."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Many jobs of one sort at one time."""

    at: str
    work: str
    jobs: int
    minutes: float = 0.0
    """Over how long they come; 0: all at once."""


class Trial(StrEnum):
    """What goes wrong."""

    OUTAGE = "outage"
    """A service is down: its runs are cut off, and new ones turned away."""
    DEAD_KEY = "dead_key"
    """A service refuses the key."""
    IDLE = "idle"
    """The runs of a service end at once, well, and change nothing."""
    ENGINE_DOWN = "engine_down"
    """No engine runs. Runs go on."""
    CLOCK = "clock"
    """The machine's clock is set, by `seconds`."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that goes wrong, at a time and for a while."""

    at: str
    what: Trial
    backend: str = ""
    minutes: float = 0.0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever answers cards."""

    minutes: Spread = field(default_factory=lambda: Spread(45, 240))
    from_hour: int = 7
    to_hour: int = 23
    """The hours (UTC) in which cards are answered."""
    approves: float = 0.9


@dataclass(frozen=True, slots=True)
class Checks:
    """How the checks of every project go."""

    minutes: Spread = field(default_factory=lambda: Spread(2, 5))
    fails: float = 0.05
    conflicts: float = 0.02
    """Of the merges this share collides with what came in."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole house, and what happens in it."""

    title: str
    start: datetime
    days: float
    config: Config
    agents: Mapping[str, FakeAgent]
    """By the names of the agents: each copy is one."""
    services: Mapping[str, FakeService] = field(default_factory=dict)
    work: Mapping[str, Work] = field(default_factory=dict)
    bursts: tuple[Burst, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    incidents: tuple[Incident, ...] = ()
    person: Person = field(default_factory=Person)
    checks: Checks = field(default_factory=Checks)
    seed: int = 1
    limits_of: str = ""
    """Whose limits are tried, in words."""

    @property
    def end(self) -> datetime:
        """When nothing new comes any more."""
        return self.start + timedelta(days=self.days)

    def moment(self, at: str) -> datetime:
        """`day 3 14:00`, of which day 1 is the one on which it starts. Raises ValueError."""
        day, clock = at.removeprefix("day ").split(" ")
        hours, minutes = clock.split(":")
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=int(day) - 1, hours=int(hours), minutes=int(minutes))


def copies_of(agents: Mapping[str, FakeAgent]) -> dict[str, FakeAgent]:
    """Each copy under a name of its own: `engineer-1`, `engineer-2`; a single one keeps its name."""
    found: dict[str, FakeAgent] = {}
    for name, agent in agents.items():
        found |= {name if agent.copies == 1 else f"{name}-{n}": agent for n in range(1, agent.copies + 1)}
    return found
