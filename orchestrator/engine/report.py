"""Report: what stands where, as values that commands print. What needs the person comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.core.hot import HotFile
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.limits import Refusal
from orchestrator.core.needs import blocked_by, needed_by
from orchestrator.core.possible import find_impossible
from orchestrator.core.waits import Wait, wait_of
from orchestrator.engine.agents import view_agents
from orchestrator.engine.hot import hot_files
from orchestrator.engine.limits import Reasons
from orchestrator.engine.needs import Need, long_held, rejected_files, stray_folders, stuck_jobs
from orchestrator.engine.project_lines import PENDING, ProjectLine, project_lines
from orchestrator.engine.recurring import schedule_problems
from orchestrator.engine.routing import fallback_problems, limits_problems, routing_problems
from orchestrator.engine.services import Told, told_services
from orchestrator.engine.waiting import why_waiting
from orchestrator.engine.workspace import Workspace

ERRORS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One job on the board."""

    id: str
    lane: str
    state: str
    priority: str
    title: str
    agent: str = ""
    attempt: int = 0
    reason: str = ""
    since: str = ""
    run: str = ""
    error: str = ""
    """The last error line of the newest attempt, once it has ended."""
    waits: Wait | None = None
    """For which person it waits, and since when; None if for nobody."""

    @property
    def why(self) -> str:
        """What to say of it: why it stands where it stands, else what it is."""
        told = self.reason or self.title
        return f"{told} (agent: {self.error})" if self.error and self.error not in told else told


@dataclass(frozen=True, slots=True)
class Summary:
    """The board: what needs the person, the open jobs in the order of their lanes, and what is wrong."""

    needs: tuple[Need, ...]
    jobs: tuple[Line, ...]
    problems: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    hot: tuple[HotFile, ...] = ()
    """Files in which work has collided again and again lately."""
    projects: tuple[ProjectLine, ...] = ()
    """Those that have a goal."""
    limits: tuple[Refusal, ...] = ()
    """What keeps something from beginning now."""
    services: tuple[Told, ...] = ()
    """Those that take nothing, or less than they may."""

    @property
    def all_done(self) -> bool:
        """Whether no work is left that was asked for and not produced."""
        return not self.jobs

    def to_json(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "needs": [{**asdict(each), "waits": wait_json(each.waits)} for each in self.needs],
            "jobs": [{**asdict(each), "waits": wait_json(each.waits)} for each in self.jobs],
            "problems": list(self.problems),
            "counts": dict(self.counts),
            "hot": [asdict(each) for each in self.hot],
            "projects": [each.to_json() for each in self.projects],
            "limits": [refusal_json(each) for each in self.limits],
            "services": [each.to_json() for each in self.services],
        }

    def closing_line(self) -> str:
        """What is left, in one line."""
        pending = [each.project for each in self.projects if each.state == PENDING]
        if self.all_done and pending:
            wait = "wait" if len(pending) > 1 else "waits"
            return f"No job is left; {', '.join(pending)} {wait} for your approval (orc status)."
        if self.all_done:
            return "Nothing is left to do."
        counts = ", ".join(f"{count} {lane}" for lane, count in self.counts.items())
        number = len(self.needs)
        waiting = f"; {number} {'wait' if number > 1 else 'waits'} for you (orc status)" if number else ""
        return f"Left: {counts or 'no jobs'}{waiting}."


def summarize(ws: Workspace, *, errors: bool = True) -> Summary:
    """The board now. What it costs does not depend on the number of ended jobs.

    `errors`: with the agents' last error lines, of as many jobs as a person would read.
    """
    folders = ws.ledger.snapshot().folders.values()
    order = list(Lane)
    jobs = sorted((each.job for each in folders), key=lambda job: (order.index(job.lane), job.priority, job.at.created))
    told = _last_errors(ws, jobs) if errors else {}
    now = ws.now()
    reasons, services = Reasons(ws, view_agents(ws)[0]), tuple(told_services(ws))
    resting = why_waiting(ws, jobs) if any(each.until for each in services) else {}
    lines = tuple(_line(job, now, told.get(job.id, ""), reasons, resting.get(job.id, "")) for job in jobs)
    asking = [each for each in folders if each.job.state is State.DECIDE]
    needed = needed_by(jobs) if asking else {}
    needs = sorted((_need(ws, each, needed) for each in asking), key=lambda need: need.id)
    counts = Counter(line.lane for line in lines)
    projects = project_lines(ws)
    asked = [_need_of(each) for each in projects if each.card]
    return Summary(
        needs=(*needs, *asked, *stuck_jobs(jobs, now), *long_held(jobs, now), *rejected_files(ws), *stray_folders(ws)),
        jobs=lines,
        problems=tuple(list_problems(ws)),
        counts={lane.value: counts[lane] for lane in order if counts[lane]},
        hot=tuple(each for name in ws.config.projects for each in hot_files(ws, name)),
        projects=projects,
        limits=tuple(reasons.refusals),
        services=services,
    )


def _line(job: Job, now: datetime, error: str, reasons: Reasons, resting: str) -> Line:
    line, refusal = line_of(job, now), reasons.of(job)
    waits_for = refusal.told if refusal is not None else resting
    return replace(line, error=error, reason=waits_for or line.reason)


def refusal_json(refusal: Refusal) -> dict[str, Any]:
    """As `--json` shows it."""
    return {**asdict(refusal), "told": refusal.told}


def line_of(job: Job, now: datetime) -> Line:
    """A job as one line."""
    return Line(
        id=job.id,
        lane=job.lane.value,
        state=job.state.value,
        priority=job.priority.name,
        title=job.spec.heading,
        agent=job.at.agent,
        attempt=job.at.attempt,
        reason=job.why,
        since=job.at.since,
        run=job.at.run,
        waits=wait_of(job, now),
    )


def wait_json(wait: Wait | None) -> dict[str, Any] | None:
    """As `--json` shows it."""
    return {**asdict(wait), "stale": wait.is_stale} if wait is not None else None


def _last_errors(ws: Workspace, jobs: Iterable[Job]) -> dict[str, str]:
    """Of jobs that came back from an attempt: what the agent's program said last, by job."""
    back = [job for job in jobs if job.at.attempt and job.state in (State.READY, State.WAITING, State.DECIDE)]
    if not back:
        return {}
    from orchestrator.core.attempt_record import Attempt  # Slow to load, and most boards need none.

    folders = ws.ledger.snapshot().folders
    return {
        job.id: ws.ledger.record(Attempt, folders[job.id], f"attempt-{job.at.attempt}").error
        for job in back[:ERRORS_SHOWN]
    }


def _need(ws: Workspace, folder: Folder, needed: Mapping[str, list[str]]) -> Need:
    from orchestrator.core.records import Card  # Slow to load, and a board without cards needs none.

    job = folder.job
    card = ws.ledger.record(Card, folder, f"card-{job.at.card}")
    keys = tuple(option.key for option in card.options)
    command = f"orc approve {card.id}" if keys[0] == "approve" else f"orc answer {card.id} {keys[0]}"
    question = f"{card.question} ({job.why})" if job.is_held else card.question
    wait, blocks = wait_of(job, ws.now()), blocked_by(job.id, needed)
    return Need(card.id, question, command, keys, wait, blocks, card.default, card.expires)


def _need_of(line: ProjectLine) -> Need:
    return Need(line.card, line.what, f"orc approve {line.card}", line.answers, line.waits)


def list_problems(ws: Workspace) -> list[str]:
    """What is wrong with files that a person wrote about agents and schedules, and what of them cannot be."""
    problems = [f"orc.yaml: {ws.config_problem} (the last good one is in force)"] if ws.config_problem else []
    agents, unusable = view_agents(ws)
    impossible = [f"{each.what}: {each.text} ({each.hint})" for each in find_impossible(ws.config, agents)]
    named = (*routing_problems(ws, agents), *fallback_problems(ws, agents), *limits_problems(ws, agents))
    return [*problems, *unusable, *schedule_problems(ws), *map(str, named), *impossible]
