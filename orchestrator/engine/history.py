"""History: the steps of the ledger as they can be read back from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from orchestrator.adapters.ledger import REF
from orchestrator.adapters.ledger_paths import open_path
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
    id_ = find_job(ws, job).job.id if job else ""
    paths = _paths_of(ws, id_) if id_ else []
    # Not with `--grep`, for which git would open every commit on its way.
    entries = read_log(ws, f"--max-count={max(0, number)}", REF, "--", *paths)
    told = (Told(each.commit, iso(datetime.fromtimestamp(each.at, UTC)), *each[2:]) for each in entries)
    return [step for step in told if step.facts.get("Job") == id_ or not id_]


class Entry(NamedTuple):
    """One commit of the ledger; `at` in seconds since 1970, as git has it."""

    commit: str
    at: int
    actor: str
    subject: str
    facts: dict[str, str]


def read_log(ws: Workspace, *which: str, keys: Iterable[str] = ()) -> Iterator[Entry]:
    """The commits that `git log` finds with these arguments, in its order. `keys`: of the facts only these."""
    trailers = ",".join(["only", "unfold", *(f"key={key}" for key in keys)])
    out = ws.ledger.git.run("log", "-z", f"--format=%H%x1f%ct%x1f%an%x1f%s%x1f%(trailers:{trailers})", *which).out
    return (_entry(each) for each in out.decode("utf-8", "replace").split("\0") if each.strip())


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


def read_ends(ws: Workspace, since: datetime) -> dict[str, Entry]:
    """The steps with which jobs ended since then that are not open again, by job, the newest first."""
    found: dict[str, Entry] = {}
    which = ("--first-parent", f"--max-age={int(since.timestamp())}", REF, "--")
    for entry in read_log(ws, *which, keys=("Job", "To", "Routine")):
        id_ = entry.facts.get("Job", "")
        if entry.facts.get("To") in ENDED and id_ not in found and id_ not in ws.ledger.snapshot().folders:
            found[id_] = entry
    return found


def _entry(text: str) -> Entry:
    commit, seconds, actor, subject, trailers = text.strip("\n").split("\x1f", 4)
    facts = dict(line.split(": ", 1) for line in trailers.splitlines() if ": " in line)
    return Entry(commit, int(seconds), actor, subject, facts)
