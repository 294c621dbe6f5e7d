"""`orc.yaml` as values. The schema has validated the file before; here defaults are filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.job import Check, Independence, JobSpec, LimitWishes, MergePolicy

DOCS = (
    "*.md",
    "*.rst",
    "*.adoc",
    "docs/**",
    "doc/**",
    "LICENSE*",
    "CHANGELOG*",
    "plans/**",
    "PLAN*",
)
PROTECTED = (
    "orc.yaml",
    "rules/**",
    "souls/**",
    "skills/**",
    "criteria/**",
    "queue/**",
    "schedules/**",
    "CLAUDE.md",
    "AGENTS.md",
    "GEMINI.md",
    ".claude/**",
    ".github/workflows/**",
    ".gitlab-ci.yml",
    ".ci/**",
    ".gitattributes",
    ".gitmodules",
)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """From which likeness to an open job a new one is a question to the person, and from which it is refused."""

    ask: float = 0.6
    """0: nobody is asked."""
    block: float = 0.8
    """0: nothing is refused."""
    hours: int = 24
    """After so many a question that nobody has answered is over, and both jobs are done; 0: never."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A command that makes a fresh tree ready for work (install dependencies, build). `timeout_s` in seconds."""

    run: str
    timeout_s: int = 1800


@dataclass(frozen=True, slots=True)
class Project:
    """A repository that work is done on."""

    name: str = "main"
    path: str = "."
    """Relative to the workspace."""
    target: str = ""
    """Branch that approved work lands on; '' means the branch that is checked out when the workspace is made."""
    checks: tuple[Check, ...] = ()
    setup: Setup | None = None
    keep: tuple[str, ...] = ()
    """Ignored paths that stay in an agent's tree from one job to the next (caches, dependencies)."""
    docs: tuple[str, ...] = DOCS
    """Changes to nothing but these are not code."""
    protected: tuple[str, ...] = PROTECTED
    """Changes to these are never merged without a human."""
    merge: MergePolicy = MergePolicy.ASK
    goal: str = ""
    """What is to be reached. With one, a person is asked whether the project is finished once no job of it is open."""
    duplicates: Duplicates | None = None
    """None: what holds in the whole workspace."""


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """How a kind of agent program is started. `type` names the backend; the other keys are that backend's own."""

    name: str = ""
    type: str = "command"
    argv: tuple[str, ...] = ()
    script: str = ""
    program: str = ""
    """The agent's program, by name or path; '' is the backend's own name."""
    args: tuple[str, ...] = ()
    """More arguments for it."""
    key_env: str = ""
    """The variable of the engine's environment that holds the key; '' is the usual one of the backend."""
    base_url: str = ""
    """Where its service is; '' is the vendor's own."""
    provider: str = ""
    """Which API that service speaks, where a backend can do several."""
    login: bool = False
    """Whether it may use the person's own login, with their HOME, instead of a key."""
    max_turns: int = 0
    """The most turns of one run; 0 means what the program does by itself."""
    at_once: int = 0
    """The most runs at once; 0 for as many as there are slots."""
    quick: bool | None = None
    """Whether it may well answer within seconds; None: as its type says."""
    env: dict[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    """Names of variables taken over from the engine's environment; their values are blotted out of all output."""
    family: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, which is millionths of a dollar for one; and the day on which they held."""

    date: str
    input: float
    output: float
    cache_read: float = 0.0
    cache_write: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model."""

    family: str = ""
    """Who made it; models of one family share their errors."""
    tier: str = ""
    """How able it is, in the person's own words."""
    price: Price | None = None
    window: int = 200_000
    """Tokens that fit into one conversation."""


@dataclass(frozen=True, slots=True)
class Route:
    """Whom a kind of work goes to first: these agents in this order, or any whose model is of this tier."""

    agents: tuple[str, ...] = ()
    tier: str = ""

    @property
    def rule(self) -> str:
        """What is recorded of a choice that was made by it."""
        return f"tier {self.tier}" if self.tier else "routed"

    def place(self, agent: str, tier: str) -> int | None:
        """The place of an agent with a model of `tier`, 0 for the first; None if nothing is said of it."""
        if self.tier:
            return 0 if tier == self.tier else None
        return self.agents.index(agent) if agent in self.agents else None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """When an approval is not enough by itself, so that another reviewer is asked about the same commit.

    Without defaults of its own: a review's record says what held then, also when the defaults are others by now.
    """

    seconds: float
    """A review that took less was none; 0 leaves this out."""
    lines: int
    """More changed lines than these without one remark; 0 leaves this out."""
    approvals: float
    """A reviewer that approved a larger share of what it judged lately; 1 leaves this out."""
    reviews: int
    """That share says nothing before so many clear verdicts."""


SUSPICION = Suspicion(seconds=20.0, lines=300, approvals=0.98, reviews=20)


@dataclass(frozen=True, slots=True)
class ReviewDefaults:
    """How work is reviewed unless the job says otherwise."""

    rounds: int = 3
    threshold: float = 0.8
    independence: Independence = Independence.FAMILY
    max_diff_bytes: int = 400_000
    """A larger diff is a question for the human, never a review of a part of it."""
    suspicion: Suspicion = SUSPICION
    second: int = 5
    """Of the other approvals so many percent, drawn by lot, are judged by another reviewer as well."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings unless the job says otherwise. They hold whatever loops."""

    attempts: int = 3
    crashes: int = 3
    starts: int = 12
    reviews: int = 6
    failed_starts: int = 5
    minutes: int = 60
    review_minutes: int = 20
    silent_minutes: int = 10
    output_mb: int = 32


UNLIMITED = "unlimited"
"""What stands in `orc.yaml` for None: nothing is without a limit that a person has not said so of."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What one project, one agent, one job or all of them together may use; None means that a person set no limit.

    Without defaults of its own: what is meant by a key that is left out depends on whose limits they are.
    """

    at_once: int | None
    """Runs that ask a model, attempts and reviews, at the same time."""
    runs: int | None
    """Such runs in a day."""
    tokens: int | None
    """Tokens in a day; of a job in its whole life."""
    usd: float | None
    """US dollars, likewise."""

    @property
    def microusd(self) -> int | None:
        """The money in millionths of a US dollar."""
        return None if self.usd is None else round(self.usd * 1_000_000)


NO_CAPS = Caps(None, None, None, None)
TOTAL_CAPS = Caps(None, None, tokens=200_000_000, usd=200.0)
AGENT_CAPS = Caps(None, 200, None, None)
JOB_CAPS = Caps(None, None, tokens=50_000_000, usd=50.0)


@dataclass(frozen=True, slots=True)
class ExecutionLimits:
    """What runs may use. `slots` bounds besides how many there are at once."""

    tz: str = "UTC"
    """The time zone of a day."""
    window_tokens: int | None = 20_000_000
    """Tokens in five minutes, from which on nothing more is begun."""
    total: Caps = TOTAL_CAPS
    project: Caps = NO_CAPS
    """Each project, unless `projects` has it."""
    agent: Caps = AGENT_CAPS
    """Each agent, unless `agents` has it."""
    job: Caps = JOB_CAPS
    """Each job, unless it says otherwise itself."""
    projects: dict[str, Caps] = field(default_factory=dict)
    agents: dict[str, Caps] = field(default_factory=dict)

    @property
    def has_money_of_its_own(self) -> bool:
        """Whether a person has limited money: one who did not need not know what anything costs."""
        all_caps = (self.total, self.project, self.agent, self.job, *self.projects.values(), *self.agents.values())
        return any(each.usd not in (None, TOTAL_CAPS.usd, JOB_CAPS.usd) for each in all_caps)

    @classmethod
    def fill_in(cls, value: Mapping[str, Any]) -> dict[str, Any]:
        """What a person wrote with what it leaves out: where a name has limits of its own, the rest is everybody's."""
        items: dict[str, Any] = _own(value)
        for key in ("total", "project", "agent", "job"):
            items[key] = {**_all_of(getattr(EXECUTION, key)), **_own(items.get(key) or {})}
        for key, common in (("projects", items["project"]), ("agents", items["agent"])):
            items[key] = {name: {**common, **_own(each or {})} for name, each in (items.get(key) or {}).items()}
        return items


def _all_of(caps: Caps) -> dict[str, Any]:
    return {each.name: getattr(caps, each.name) for each in fields(caps)}


def _own(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if each == UNLIMITED else each for key, each in value.items()}


EXECUTION = ExecutionLimits()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """When an agent's conversation is ended and a new one begun."""

    jobs: int = 50
    hours: float = 24.0
    """Since it was begun."""
    window: float = 0.6
    """The share of the model's window that may be used up."""
    failed_reviews: int = 2
    """Reviews in a row that asked for changes."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much of what ended runs printed is kept: that of the newest `runs`, for `days`."""

    runs: int = 1000
    days: int = 30


class About(StrEnum):
    """What a notice is about."""

    CARD = "cards"
    """A question to the person, and one that is brought to mind."""
    FAILED = "failed"
    DONE = "done"
    REJECTED = "rejected"
    """A file in `queue/` that could not be accepted."""
    ALERT = "alerts"


@dataclass(frozen=True, slots=True)
class Quiet:
    """The hours in which only what cannot wait is told; `start` and `end` as HH:MM in the zone `tz`."""

    start: str
    end: str
    tz: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to a person: exactly one of these is set."""

    webhook: str = ""
    """An address that is sent one JSON object by POST."""
    webhook_env: str = ""
    """The variable of the environment that holds such an address."""
    command: tuple[str, ...] = ()
    """A program that gets the same object on its standard input."""
    desktop: bool = False
    """The notifications of the desktop."""


@dataclass(frozen=True, slots=True)
class NotifyPolicy:
    """`notify:` in orc.yaml."""

    about: tuple[About, ...] = (About.CARD, About.FAILED, About.ALERT)
    to: dict[str, Channel] = field(default_factory=dict)
    """The ways to the person, by name. Without any, nothing is told."""
    hourly: int = 5
    """From so many within an hour on, the others are told together."""
    quiet: Quiet | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of `orc.yaml`."""

    version: int = 1
    slots: int = 4
    """Runs at once, without the one kept for a person's P0."""
    check_slots: int = 2
    """Check runs at once; they cost no tokens and do not take an agent's slot."""
    tick_seconds: float = 10.0
    """Longest time between two looks at everything; events wake the loop sooner."""
    projects: dict[str, Project] = field(default_factory=lambda: {"main": Project()})
    backends: dict[str, BackendConfig] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    """What is known of models. With any here, an agent may use no other."""
    routing: dict[str, Route] = field(default_factory=dict)
    """Which agents are to be taken first for a kind of work."""
    fallback: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Who may stand in, in this order, for an agent whose service takes nothing for some time."""
    sessions: SessionLimits = SessionLimits()
    review: ReviewDefaults = ReviewDefaults()
    limits: Limits = Limits()
    execution_limits: ExecutionLimits = EXECUTION
    logs: LogLimits = LogLimits()
    duplicates: Duplicates = Duplicates()
    notify: NotifyPolicy = field(default_factory=NotifyPolicy)

    @classmethod
    def from_file(cls, value: Mapping[str, Any]) -> Config:
        """The configuration of a mapping that has passed the schema. Raises ValueError."""
        items = dict(value)
        for project in (items.get("projects") or {}).values():
            if project.get("checks") is not None:
                project["checks"] = [{"run": c} if isinstance(c, str) else c for c in project["checks"]]
            if isinstance(project.get("setup"), str):
                project["setup"] = {"run": project["setup"]}
            if "duplicates" in project:
                project["duplicates"] = {**(items.get("duplicates") or {}), **project["duplicates"]}
        if "suspicion" in (review := items.get("review") or {}):
            items["review"] = {**review, "suspicion": {**to_mapping(SUSPICION), **review["suspicion"]}}
        if "execution_limits" in items:
            items["execution_limits"] = ExecutionLimits.fill_in(items["execution_limits"] or {})
        items["routing"] = {kind: _route(each) for kind, each in (items.get("routing") or {}).items()}
        config = from_mapping(cls, items)
        return replace(
            config,
            projects={name: replace(each, name=name) for name, each in config.projects.items()},
            backends={name: replace(each, name=name) for name, each in config.backends.items()},
        )

    def duplicates_of(self, project: str) -> Duplicates:
        """What holds for jobs of a project that are like open ones."""
        own = self.projects[project].duplicates if project in self.projects else None
        return own or self.duplicates

    def at_once(self, backend: str) -> int:
        """The most runs at once on a backend, as configured. With all slots there is the one for a person's P0."""
        own = self.backends[backend].at_once if backend in self.backends else 0
        return own or self.slots + 1

    def same_key(self, backend: str) -> tuple[str, ...]:
        """The backends whose key or login is the same as that of this one, with itself."""
        wanted = self._key_of(backend)
        return (backend, *(name for name in self.backends if name != backend and self._key_of(name) == wanted))

    def _key_of(self, backend: str) -> tuple[object, ...]:
        each = self.backends.get(backend, BackendConfig(name=backend, type=backend))
        if each.type in ("command", "scripted"):
            return (backend,)  # What they are let in by is not known.
        # What else the program finds in its environment may be a key, or say where a login lies. Two that are taken for
        # one would be shut for each other's key; one that is taken for two costs some runs more.
        environment = (tuple(sorted(each.env.items())), tuple(sorted(each.pass_env)))
        return (each.type, each.provider, each.base_url, each.login, each.key_env, *environment)

    def tier_of(self, model: str) -> str:
        """The tier of a model, '' if nothing is said of it."""
        known = self.models.get(model)
        return known.tier if known else ""


def _route(value: str | list[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    return {"agents": [value] if isinstance(value, str) else value}


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one job: its own wishes where it has any, else the project's and the workspace's."""

    attempts: int
    starts: int
    reviews: int
    rounds: int
    threshold: float
    independence: Independence
    by: tuple[str, ...]
    merge: MergePolicy
    checks: tuple[Check, ...]
    minutes: int
    target: str
    tokens: int | None = None
    """What all its runs together may use; None: no limit."""
    microusd: int | None = None


def terms(config: Config, project: Project, spec: JobSpec, *, allowance: int = 0) -> Terms:
    """The terms of a job. Each time the human grants another go, the ceilings rise by one whole set."""
    limits, wishes, sets = config.limits, spec.limits, 1 + allowance
    return Terms(
        attempts=(wishes.attempts or limits.attempts) * sets,
        starts=(wishes.starts or limits.starts) * sets,
        reviews=(wishes.reviews or limits.reviews) * sets,
        rounds=(spec.review.rounds or config.review.rounds) * sets,
        threshold=config.review.threshold if spec.review.threshold is None else spec.review.threshold,
        independence=spec.review.independence or config.review.independence,
        by=spec.review.by,
        merge=spec.merge or project.merge,
        checks=project.checks if spec.checks is None else spec.checks,
        minutes=wishes.minutes or limits.minutes,
        target=spec.target or project.target,
        tokens=_times(wishes.tokens or config.execution_limits.job.tokens, sets),
        microusd=_times(_microusd(wishes) or config.execution_limits.job.microusd, sets),
    )


def _times(limit: int | None, sets: int) -> int | None:
    return None if limit is None else limit * sets


def _microusd(wishes: LimitWishes) -> int | None:
    return None if wishes.usd is None else round(wishes.usd * 1_000_000)
