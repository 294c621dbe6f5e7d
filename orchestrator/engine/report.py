"""Report: what stands where, as values that commands print. What needs the person comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.files import safe_read
from orchestrator.adapters.ledger import Folder
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.records import Attempt, Card, Evidence, MergeRecord, ReviewRecord
from orchestrator.engine.look import view_agents
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

RECORD_KINDS: Mapping[str, type[Any]] = {
    "attempt": Attempt,
    "evidence": Evidence,
    "review": ReviewRecord,
    "merge": MergeRecord,
    "card": Card,
}
WHY = ".why.txt"
SHOWN_REJECTED = 20


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for the person, and the command that answers it."""

    id: str
    what: str
    command: str
    answers: tuple[str, ...] = ()
    """The answers that a card offers; () for what is no card."""


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
        return not self.jobs

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
        number = len(self.needs)
        waiting = f"; {number} {'wait' if number > 1 else 'waits'} for you (orc status)" if number else ""
        return f"Left: {counts or 'no jobs'}{waiting}."


def summarize(ws: Workspace) -> Summary:
    """The board now. What it costs does not depend on the number of ended jobs."""
    folders = ws.ledger.snapshot().folders.values()
    order = list(Lane)
    jobs = sorted((each.job for each in folders), key=lambda job: (order.index(job.lane), job.priority, job.at.created))
    lines = tuple(line_of(job) for job in jobs)
    needs = sorted((_need(ws, each) for each in folders if each.job.state is State.DECIDE), key=lambda need: need.id)
    counts = Counter(line.lane for line in lines)
    return Summary(
        needs=(*needs, *_stuck(jobs), *_rejected(ws)),
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
    keys = tuple(option.key for option in card.options)
    command = f"orc approve {card.id}" if keys[0] == "approve" else f"orc answer {card.id} {keys[0]}"
    return Need(card.id, card.question, command, keys)


def _stuck(jobs: list[Job]) -> list[Need]:
    """Jobs that wait for what time does not bring: no agent can take them, or what they need will never be done."""
    ids = {job.id for job in jobs}
    by_reason: dict[str, list[str]] = {}
    for job in jobs:
        if job.state is State.WAITING and not _comes_by_itself(job.at.reason, ids):
            by_reason.setdefault(job.at.reason, []).append(job.id)
    found = []
    for reason, held in by_reason.items():
        who = f"{held[0]} cannot start" if len(held) == 1 else f"{held[0]} and {len(held) - 1} more cannot start"
        found.append(Need(f"held.{held[0]}", f"{who}: {reason}", "orc doctor, or orc show " + held[0]))
    return found


def _comes_by_itself(reason: str, ids: set[str]) -> bool:
    """Whether a held job waits for another open job, a date, a pause, or a base whose own line is shown."""
    if reason.startswith(("starts at ", "pauses until ", "the base is red")) or "on its base already" in reason:
        return True
    return reason.startswith("needs ") and reason.removeprefix("needs ") in ids


def _rejected(ws: Workspace) -> list[Need]:
    """Files that could not be accepted, until somebody takes them away."""
    folder = ws.paths.queue / Lane.REJECTED
    names = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
    found = []
    for name in (each for each in names if not each.endswith(WHY)):
        told = safe_text(folder / f"{name}{WHY}")
        why = told.partition("\n")[0].strip() or "it could not be accepted"
        found.append(Need(f"rejected/{name}", why, f"mend queue/rejected/{name} and drop it again, or delete it"))
    return found[:SHOWN_REJECTED]


def safe_text(path: Path) -> str:
    """What a small file of ours says; '' if it is not there or something else lies in its place."""
    try:
        return safe_read(path).data.decode("utf-8", "replace")
    except (OrcError, OSError):
        return ""


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
