"""Report: what stands where, as values that commands print. What needs the person comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.adapters.ledger import Folder
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.records import Attempt, Card, Evidence, MergeRecord, ReviewRecord
from orchestrator.engine.bases import base_record
from orchestrator.engine.look import view_agents
from orchestrator.engine.workspace import Workspace

RECORD_KINDS: Mapping[str, type[Any]] = {
    "attempt": Attempt,
    "evidence": Evidence,
    "review": ReviewRecord,
    "merge": MergeRecord,
    "card": Card,
}
ENDED_LANES = (Lane.DONE, Lane.FAILED, Lane.CANCELLED)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for the person, and the command that answers it."""

    id: str
    what: str
    command: str


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


@dataclass(frozen=True, slots=True)
class Summary:
    """The board: what needs the person, the open jobs in the order of their lanes, and what is wrong."""

    needs: tuple[Need, ...]
    jobs: tuple[Line, ...]
    problems: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def all_done(self) -> bool:
        """Whether no work is left that was asked for and not produced."""
        return not self.jobs and not self.problems

    def to_json(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "needs": [asdict(each) for each in self.needs],
            "jobs": [asdict(each) for each in self.jobs],
            "problems": list(self.problems),
            "counts": dict(self.counts),
        }

    def closing_line(self) -> str:
        """What is left, in one line."""
        if self.all_done:
            return "Nothing is left to do."
        counts = ", ".join(f"{count} {lane}" for lane, count in self.counts.items())
        waiting = f"; {len(self.needs)} wait for you (orc status)" if self.needs else ""
        return f"Left: {counts or 'no jobs'}{waiting}."


def summarize(ws: Workspace) -> Summary:
    """The board now. What it costs does not depend on the number of ended jobs."""
    folders = ws.ledger.snapshot().folders.values()
    order = list(Lane)
    jobs = sorted((each.job for each in folders), key=lambda job: (order.index(job.lane), job.priority, job.at.created))
    lines = tuple(line_of(job) for job in jobs)
    needs = tuple(_need(ws, each) for each in folders if each.job.state is State.DECIDE)
    counts = Counter(line.lane for line in lines)
    return Summary(
        needs=(*sorted(needs, key=lambda need: need.id), *_red_bases(ws, jobs)),
        jobs=lines,
        problems=tuple(_problems(ws)),
        counts={lane.value: counts[lane] for lane in order if counts[lane]},
    )


def line_of(job: Job) -> Line:
    """A job as one line."""
    return Line(
        id=job.id,
        lane=job.lane.value,
        state=job.state.value,
        priority=job.priority.name,
        title=job.spec.heading,
        agent=job.at.agent,
        attempt=job.at.attempt,
        reason=job.at.reason,
        since=job.at.since,
        run=job.at.run,
    )


def _need(ws: Workspace, folder: Folder) -> Need:
    job = folder.job
    card = ws.ledger.record(Card, folder, f"card-{job.at.card}")
    first = card.options[0].key
    command = f"orc approve {job.id}" if first == "approve" else f"orc answer {job.id} {first}"
    return Need(card.id, card.question, command)


def _red_bases(ws: Workspace, jobs: list[Job]) -> list[Need]:
    """A base that fails its own checks holds the project's jobs: one thing to put right, however many jobs wait."""
    found = []
    for name in sorted({job.at.project for job in jobs if job.at.project in ws.config.projects}):
        record = base_record(ws, name)
        held = any(job.at.project == name and "on its base already" in job.at.reason for job in jobs)
        if record is None or not held:
            continue
        failed = [check.name for check in record.checks if not check.passed]
        why = record.problem or f"{', '.join(failed)} failed"
        what = f"The base of {name} is red at {record.commit[:12]} ({why}); its jobs are held."
        found.append(
            Need(f"base.{name}", what, f"mend {ws.project(name).target}, or submit a job with repairs_base: true")
        )
    return found


def _problems(ws: Workspace) -> list[str]:
    problems = [f"orc.yaml: {ws.config_problem} (the last good one is in force)"] if ws.config_problem else []
    return problems + view_agents(ws)[1]


def records_of(ws: Workspace, folder: Folder) -> dict[str, Any]:
    """Every record of a job by file stem, in the order in which they came about."""

    def order(stem: str) -> tuple[int, int]:
        kind, _, number = stem.partition("-")
        return (int(number), list(RECORD_KINDS).index(kind))

    stems = [stem for stem in folder.records if stem.partition("-")[0] in RECORD_KINDS and stem.count(".") == 0]
    return {
        stem: ws.ledger.record(RECORD_KINDS[stem.partition("-")[0]], folder, stem) for stem in sorted(stems, key=order)
    }
