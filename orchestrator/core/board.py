"""What a decision rests on, as values: the open jobs, the projects, the agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.core.agent import Soul
from orchestrator.core.config import Config, Project, Terms, terms
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job, State, Worker
from orchestrator.core.limits import Spending

if TYPE_CHECKING:
    from orchestrator.core.service import Service

NOTHING_SPENT = Spending()
IN_BACKLOG = (State.READY, State.WAITING)


class BaseState(StrEnum):
    """What is known of the checks on the commit that new work would start from."""

    GREEN = "green"
    RED = "red"
    UNKNOWN = "unknown"
    RUNNING = "running"
    NO_CHECKS = "no checks"


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project as it is now. `problem` says why no work can start on it, '' if it can."""

    project: Project
    base: BaseState = BaseState.NO_CHECKS
    problem: str = ""
    commit: str = ""
    """The base: the commit that new work would start from."""
    why_red: str = ""
    """Which checks fail on the base, or why they could not be run; '' if it is not red. It stays red while checks that
    could not be run are tried again."""
    could_not_run: bool = False
    """Whether it counts as red because its checks could not be run."""

    @property
    def is_red(self) -> bool:
        """Whether nothing starts from this base but what repairs it."""
        return self.base is BaseState.RED or bool(self.why_red)


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent as it is now. `problem` says why its program cannot be started, '' if it can: also that of an agent that
    drains."""

    soul: Soul
    family: str = ""
    model: str = ""
    problem: str = ""

    @property
    def unavailable(self) -> str:
        """Why it is given nothing new, '' if it is."""
        return self.problem or (f"it drains: {self.soul.drain}" if self.soul.drain else "")

    def unavailable_for(self, job: Job) -> str:
        """Why it gets no attempt of a job, '' if it does. An agent that drains ends what it has begun or was given."""
        return self.problem if self.soul.name in (job.at.agent, job.at.given) else self.unavailable

    def worker(self) -> Worker:
        """Who it is, for the records."""
        return Worker(self.soul.name, self.family, self.model, self.soul.backend)


@dataclass(frozen=True, slots=True)
class Board:
    """Everything a decision rests on, as values."""

    jobs: Mapping[str, Job]
    """The open jobs."""
    config: Config
    projects: Mapping[str, ProjectView]
    agents: Mapping[str, AgentView]
    ended: Mapping[str, State] = field(default_factory=dict)
    """How jobs ended that open jobs need, by id."""
    history: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Jobs an agent has worked on, by agent and project."""
    occupied: frozenset[str] = frozenset()
    """Agents whose trees are still in use by a run that nobody waits for any more: one of a cancelled job."""
    services: Mapping[str, Service] = field(default_factory=dict)
    """What is known of those behind backends, by backend; of most there is nothing to know."""
    stopping: bool = False
    """No new runs are started."""
    spending: Spending = NOTHING_SPENT
    broken: str = ""
    """Which gate fails its own test, so that nothing is begun, judged or merged; '' if none does."""
    waiting: InitVar[Mapping[str, Job] | None] = None
    """Those of `jobs` that are ready or waiting, if they are known already."""
    doing: InitVar[Iterable[Job] | None] = None
    """All others, if they are known already: with `waiting` only."""
    version: str = ""
    """Names this state of the jobs; "" if it has no name."""
    before: str = ""
    changed: frozenset[str] | None = None
    """The ids of the jobs that differ from those of the version `before`; None if that is not known."""
    backlog: Mapping[str, Job] = field(init=False)
    """The jobs that are ready or waiting."""
    active: tuple[Job, ...] = field(init=False)
    """All others: those at which something is being done, or about which somebody is asked."""

    def __post_init__(self, waiting: Mapping[str, Job] | None, doing: Iterable[Job] | None) -> None:
        if waiting is None:
            waiting = {id_: job for id_, job in self.jobs.items() if job.state in IN_BACKLOG}
            doing = None
        if doing is None:
            is_all = len(waiting) == len(self.jobs)
            doing = () if is_all else (self.jobs[id_] for id_ in self.jobs.keys() - waiting.keys())
        # What a frozen dataclass works out for itself is set in this way.
        object.__setattr__(self, "backlog", waiting)
        object.__setattr__(self, "active", tuple(doing))


def terms_of(board: Board, job: Job) -> Terms:
    """The terms that hold for a job now."""
    view = board.projects.get(job.at.project)
    project = view.project if view else Project(job.at.project)
    return terms(board.config, project, job.spec, allowance=job.at.allowance)


def run_kind(job: Job) -> RunKind | None:
    """What a job's live run is for; None without one."""
    run = RunId.parse(job.at.run) if job.at.run else None
    return run.kind if run else None


def age(job: Job) -> tuple[str, str]:
    """The order in which jobs of the same rank are served: the oldest first."""
    return (job.at.created, job.id)


def unheld(board: Board) -> list[Job]:
    """The jobs at which something is to be done next and that no person keeps from it."""
    return [job for job in board.active if not job.is_held]


def oldest_first(jobs: Iterable[Job], *states: State) -> list[Job]:
    """Those of the jobs that are in one of the states."""
    return sorted((job for job in jobs if job.state in states), key=age)
