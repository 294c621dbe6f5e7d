"""Workers: the agents of `souls/`, what each is doing, and what the newest steps of the ledger say of it.

Nothing that is looked at grows with the number of ended jobs: open jobs, live runs, and a bounded number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.tree_spec import read_record
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.nearest import guess
from orchestrator.core.review_record import CLEAR, Verdict
from orchestrator.core.schedule import AgentView
from orchestrator.core.sessions import Session
from orchestrator.core.transitions import Event
from orchestrator.engine.agents import view_agents
from orchestrator.engine.history import Told, read_history
from orchestrator.engine.outcomes import NOT_MEASURED, STEPS, Measure, event_of, mean_of, with_first_outcomes
from orchestrator.engine.ps import LiveRun, find_runs
from orchestrator.engine.sessions import session_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError

AGES = {"1-5": 5, "6-20": 20, "21+": math.inf}
"""How old a conversation is, by the number of its job: each up to that many jobs."""


class Doing(StrEnum):
    """What an agent is doing."""

    IDLE = "idle"
    WORKING = "working"
    REVIEWING = "reviewing"
    ENDING = "ending"
    """A run of it is alive that no job waits for any more."""
    DRAINS = "drains"
    """It gets nothing new, and no run of it is alive. What it has begun may still come back to it."""
    CANNOT_START = "cannot start"


@dataclass(frozen=True, slots=True)
class Record:
    """What the counted steps say of one agent. `judged` are verdicts on its work, `approved` those that were yes.

    `seconded` are its own approvals that were drawn by lot and judged by another reviewer as well, `contradicted` those
    of them that the other one did not share.
    """

    attempts: int = 0
    reviews: int = 0
    judged: int = 0
    approved: int = 0
    seconded: int = 0
    contradicted: int = 0
    last_used: str = ""


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """One agent. `why` says why it cannot be started or gets nothing new; `since` when its job entered its state."""

    name: str
    backend: str
    model: str
    tier: str
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
    rule: str = ""
    """Which rule of the order of matching gave it the job that it works on; '' while it works on none."""
    rule_number: int = 0
    persistent: bool = False
    record: Record = field(default_factory=Record)
    sessions: tuple[Session, ...] = ()
    """Its conversations, one in each project."""
    first_pass: Mapping[str, Measure] = field(default_factory=dict)
    """How much of its work was approved at the first outcome, by the age of the conversation: see `AGES`."""


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
    records, ages = count_steps(reversed(steps)), count_ages(reversed(steps))
    folders = ws.ledger.snapshot().folders
    listed = []
    for name, view in agents.items():
        worker = replace(
            _worker(name, view, ws.config.tier_of(view.model), runs),
            record=records.get(name, Record()),
            first_pass=ages.get(name, dict.fromkeys(AGES, NOT_MEASURED)),
            persistent=view.soul.persistent,
            sessions=tuple(
                session for project in ws.config.projects if (session := session_of(ws, name, project)) is not None
            ),
        )
        folder = folders.get(worker.job)
        listed.append(_with_job(ws, worker, folder) if folder and worker.run else worker)
    return Workers(tuple(listed), tuple(problems), len(steps), steps[-1].time if steps else "")


def _with_job(ws: Workspace, worker: WorkerNow, folder: Folder) -> WorkerNow:
    """An agent with what its job tells of it."""
    told = replace(worker, since=folder.job.at.since)
    run = RunId.parse(worker.run)
    if run is None or worker.doing is not Doing.WORKING:
        return told
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{run.number}")
    return replace(told, rule=attempt.rule, rule_number=attempt.rule_number)


def find_worker(found: Workers, name: str) -> WorkerNow:
    """One of them by name. Raises NotFoundError."""
    for worker in found.workers:
        if worker.name == name:
            return worker
    known = ", ".join(each.name for each in found.workers) or "none"
    near = guess(name, (each.name for each in found.workers))
    raise NotFoundError(f"there is no agent {name!r} (there: {known})" + near, hint="orc workers")


def _worker(name: str, view: AgentView, tier: str, runs: Iterable[LiveRun]) -> WorkerNow:
    soul = view.soul
    runs_on = (soul.backend, view.model, tier, view.family)
    now = WorkerNow(name, *runs_on, soul.roles, soul.projects, soul.kinds, soul.skills, Doing.IDLE)
    # A run that a job waits for goes before one that is only ending.
    mine = sorted((run for run in runs if run.agent == name), key=lambda run: (not run.named, run.run))
    if mine:
        run = mine[0]
        doing = Doing.REVIEWING if run.kind == RunKind.REVIEW else Doing.WORKING
        return replace(now, doing=doing if run.named else Doing.ENDING, job=run.job, run=run.run)
    if view.problem:
        return replace(now, doing=Doing.CANNOT_START, why=view.problem)
    return replace(now, doing=Doing.DRAINS, why=soul.drain) if soul.drain else now


def count_steps(steps: Iterable[Told]) -> Mapping[str, Record]:
    """What steps, the oldest first, say of each agent."""
    found: dict[str, Record] = {}
    authors: dict[str, str] = {}
    drawn: dict[str, str] = {}
    for step in steps:
        event, facts = event_of(step), step.facts
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
            _count_second(found, drawn, job, facts)
    return found


def _count_verdict(found: dict[str, Record], author: str, verdict: str) -> None:
    if author and verdict in CLEAR:
        was = found.get(author, Record())
        found[author] = replace(was, judged=was.judged + 1, approved=was.approved + (verdict == Verdict.APPROVED))


def _count_second(found: dict[str, Record], drawn: dict[str, str], job: str, facts: Mapping[str, str]) -> None:
    """`drawn`: by job, whose approval was drawn and waits for the verdict of another reviewer."""
    if "Drawn" in facts:
        drawn[job] = facts["Reviewer"]
    elif job in drawn and facts.get("Verdict") in CLEAR:
        first = drawn.pop(job)
        was, is_shared = found[first], facts["Verdict"] == Verdict.APPROVED
        if "Second-Of" in facts:
            found[first] = replace(was, seconded=was.seconded + 1, contradicted=was.contradicted + (not is_shared))


def count_ages(steps: Iterable[Told]) -> Mapping[str, Mapping[str, Measure]]:
    """By agent and age of the conversation, how much work was approved at its first outcome. `steps`: oldest first.

    Work that was made without a conversation that could go on has no age.
    """
    found: dict[str, dict[str, list[float]]] = {}
    authors: dict[str, str] = {}
    made: dict[str, tuple[str, str]] = {}
    for step, outcome in with_first_outcomes(steps):
        job, number = step.facts.get("Job", ""), step.facts.get("Session-Job", "")
        if event_of(step) == Event.START:
            authors[job] = step.facts.get("Author", "")
            made.pop(job, None)
        elif event_of(step) == Event.COLLECT and number.isdecimal():
            made[job] = (authors.get(job, ""), next(age for age, most in AGES.items() if int(number) <= most))
        if outcome is not None and job in made:
            author, age = made[job]
            found.setdefault(author, {each: [] for each in AGES})[age].append(outcome)
    return {name: {age: mean_of(values) for age, values in each.items()} for name, each in found.items()}


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
