"""Workers: the agents of `souls/`, what each is doing, and what the newest steps of the ledger say of it.

Nothing that is looked at grows with the number of ended jobs: open jobs, live runs, and a bounded number of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from orchestrator.adapters.tree_spec import read_record
from orchestrator.core.ids import RunKind
from orchestrator.core.records import Verdict
from orchestrator.core.schedule import AgentView
from orchestrator.core.sessions import Session
from orchestrator.core.transitions import Event
from orchestrator.engine.agents import view_agents
from orchestrator.engine.history import Told, read_history
from orchestrator.engine.ps import LiveRun, find_runs
from orchestrator.engine.sessions import session_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError

STEPS = 2000
"""So many of the newest steps of the ledger are counted."""


class Doing(StrEnum):
    """What an agent is doing."""

    IDLE = "idle"
    WORKING = "working"
    REVIEWING = "reviewing"
    ENDING = "ending"
    """A run of it is alive that no job waits for any more."""
    DRAINED = "drained"
    """It gets nothing new, and is at nothing."""
    CANNOT_START = "cannot start"


@dataclass(frozen=True, slots=True)
class Record:
    """What the counted steps say of one agent. `judged` are verdicts on its work, `approved` those that were yes."""

    attempts: int = 0
    reviews: int = 0
    judged: int = 0
    approved: int = 0
    last_used: str = ""


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """One agent. `why` says why it cannot be started; `since` when its job entered the state it is in."""

    name: str
    backend: str
    model: str
    family: str
    roles: tuple[str, ...]
    projects: tuple[str, ...]
    kinds: tuple[str, ...]
    skills: tuple[str, ...]
    doing: Doing
    job: str = ""
    run: str = ""
    since: str = ""
    why: str = ""
    persistent: bool = False
    record: Record = field(default_factory=Record)
    sessions: tuple[Session, ...] = ()
    """Its conversations, one in each project."""


@dataclass(frozen=True, slots=True)
class Workers:
    """All agents, what is wrong with soul files that cannot be used, and how far back was counted."""

    workers: tuple[WorkerNow, ...]
    problems: tuple[str, ...]
    steps: int
    since: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder in which an agent works, as its record has it. `sealed`: the commit that keeps what lies there."""

    project: str
    path: Path
    job: str = ""
    sealed: str = ""


def look_at_workers(ws: Workspace) -> Workers:
    """Every agent now."""
    agents, problems = view_agents(ws)
    runs = [run for run in find_runs(ws) if run.alive or run.named]
    steps = read_history(ws, None, STEPS)
    records = count_steps(reversed(steps))
    jobs = {id_: folder.job for id_, folder in ws.ledger.snapshot().folders.items()}
    listed = []
    for name, view in agents.items():
        worker = replace(
            _worker(name, view, runs),
            record=records.get(name, Record()),
            persistent=view.soul.persistent,
            sessions=tuple(
                session for project in ws.config.projects if (session := session_of(ws, name, project)) is not None
            ),
        )
        job = jobs.get(worker.job)
        listed.append(replace(worker, since=job.at.since) if job and worker.run else worker)
    return Workers(tuple(listed), tuple(problems), len(steps), steps[-1].time if steps else "")


def find_worker(found: Workers, name: str) -> WorkerNow:
    """One of them by name. Raises NotFoundError."""
    for worker in found.workers:
        if worker.name == name:
            return worker
    known = ", ".join(each.name for each in found.workers) or "none"
    raise NotFoundError(f"there is no agent {name!r} (there: {known})", hint="orc workers")


def _worker(name: str, view: AgentView, runs: Iterable[LiveRun]) -> WorkerNow:
    soul = view.soul
    now = WorkerNow(
        name, soul.backend, view.model, view.family, soul.roles, soul.projects, soul.kinds, soul.skills, Doing.IDLE
    )
    # A run that a job waits for goes before one that is only ending.
    mine = sorted((run for run in runs if run.agent == name), key=lambda run: (not run.named, run.run))
    if mine:
        run = mine[0]
        doing = Doing.REVIEWING if run.kind == RunKind.REVIEW else Doing.WORKING
        return replace(now, doing=doing if run.named else Doing.ENDING, job=run.job, run=run.run)
    if not view.problem:
        return now
    return replace(now, doing=Doing.DRAINED if soul.drain else Doing.CANNOT_START, why=soul.drain or view.problem)


def count_steps(steps: Iterable[Told]) -> Mapping[str, Record]:
    """What steps, the oldest first, say of each agent."""
    found: dict[str, Record] = {}
    authors: dict[str, str] = {}
    for step in steps:
        event, facts = step.subject.partition(":")[0], step.facts
        job = facts.get("Job", "")
        if event == Event.START and (name := facts.get("Author")):
            authors[job] = name
            was = found.get(name, Record())
            found[name] = replace(was, attempts=was.attempts + 1, last_used=step.time)
        elif event == Event.REVIEW and (name := facts.get("Reviewer")):
            found[name] = replace(found.get(name, Record()), last_used=step.time)
        elif event == Event.VERDICT and (name := facts.get("Reviewer")):
            was = found.get(name, Record())
            found[name] = replace(was, reviews=was.reviews + 1, last_used=step.time)
            _count_verdict(found, authors.get(job, ""), facts.get("Verdict", ""))
    return found


def _count_verdict(found: dict[str, Record], author: str, verdict: str) -> None:
    if author and verdict in (Verdict.APPROVED, Verdict.REVISE, Verdict.REJECT):
        was = found.get(author, Record())
        found[author] = replace(was, judged=was.judged + 1, approved=was.approved + (verdict == Verdict.APPROVED))


def trees_of(ws: Workspace, agent: str) -> tuple[list[Tree], list[Path]]:
    """The trees of an agent that are there, and those of its that were set aside whole."""
    found = []
    for project in ws.config.projects:
        path = ws.paths.state / "trees" / agent / project
        if not path.is_dir():
            continue
        record = read_record(ws.paths.orcdir / "trees" / f"{agent}.{project}.json")
        if record is None or record.spec.path != path:
            found.append(Tree(project, path))
        else:
            found.append(Tree(project, path, record.spec.branch.removeprefix("orc/"), record.sealed or ""))
    kept = ws.paths.state / "trees" / ".kept"
    return found, sorted(kept.glob(f"{agent}.*")) if kept.is_dir() else []
