"""History: the steps of the ledger as they can be read back from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.adapters.ledger import REF, open_path
from orchestrator.core.job import State
from orchestrator.core.times import iso
from orchestrator.engine.find import LATELY, find_job
from orchestrator.engine.story import reverts_path
from orchestrator.engine.workspace import Workspace

ENDED = frozenset(state.value for state in State if state.ended)


@dataclass(frozen=True, slots=True)
class Told:
    """One step of the ledger."""

    commit: str
    time: str
    actor: str
    subject: str
    facts: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "commit": self.commit,
            "time": self.time,
            "actor": self.actor,
            "subject": self.subject,
            "facts": self.facts,
        }


def read_history(ws: Workspace, job: str | None, number: int) -> list[Told]:
    """The newest steps, of one job or of all, newest first. Raises NotFoundError for a job that does not exist."""
    options = [f"--max-count={max(0, number)}", "-z", "--format=%H%x1f%ct%x1f%an%x1f%s%x1f%(trailers:only,unfold)"]
    id_ = find_job(ws, job).job.id if job else ""
    paths = _paths_of(ws, id_) if id_ else []
    # Not with `--grep`, for which git would open every commit on its way.
    out = ws.ledger.git.run("log", *options, REF, "--", *paths).out.decode("utf-8", "replace")
    told = (_told(entry) for entry in out.split("\0") if entry.strip())
    return [step for step in told if step.facts.get("Job") == id_ or not id_]


def _paths_of(ws: Workspace, id_: str) -> list[str]:
    """Where every commit about a job changes something: with a filter of paths git need not open the others.

    Each step changes the folder in `open/`, also the one that ends the job, or takes it up again. A revert is no step.
    """
    reverts = reverts_path(id_)
    # Named only where there is one: older gits use their filter for a single path and not for several.
    is_there = ws.ledger.objects.find(ws.ledger.root_of(ws.ledger.tip()), reverts) is not None
    return [open_path(id_), reverts] if is_there else [open_path(id_)]


def read_ended(ws: Workspace, number: int) -> list[Told]:
    """The newest steps with which jobs ended, newest first, among the newest `LATELY` steps of the ledger."""
    found: dict[str, Told] = {}
    for step in read_history(ws, None, LATELY):
        id_ = step.facts.get("Job", "")
        if step.facts.get("To") in ENDED and id_ not in found and id_ not in ws.ledger.snapshot().folders:
            found[id_] = step
    return list(found.values())[:number]


def _told(entry: str) -> Told:
    commit, seconds, actor, subject, trailers = entry.strip("\n").split("\x1f", 4)
    facts = dict(line.split(": ", 1) for line in trailers.splitlines() if ": " in line)
    return Told(commit, iso(datetime.fromtimestamp(int(seconds), UTC)), actor, subject, facts)
