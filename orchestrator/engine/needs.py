"""What needs the person beside cards: jobs that time will not free, and files that could not be accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestrator.adapters.files import safe_read
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.waits import Wait, wait_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

WHY = ".why.txt"
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for the person, and the command that answers it."""

    id: str
    what: str
    command: str
    answers: tuple[str, ...] = ()
    """The answers that a card offers; () for what is no card."""
    waits: Wait | None = None
    """For whom it waits and since when; None if that is not known."""


def stuck_jobs(jobs: Iterable[Job]) -> list[Need]:
    """Jobs that wait for what time does not bring: no agent can take them, or what they need will never be done."""
    jobs = list(jobs)
    ids = {job.id for job in jobs}
    by_reason: dict[str, list[str]] = {}
    for job in jobs:
        # Without a reason it was released a moment ago, and starts when the engine looks.
        is_stuck = job.state is State.WAITING and job.at.reason != "" and not job.is_held
        if is_stuck and not _comes_by_itself(job.at.reason, ids):
            by_reason.setdefault(job.at.reason, []).append(job.id)
    found = []
    for reason, held in by_reason.items():
        who = f"{held[0]} cannot start" if len(held) == 1 else f"{held[0]} and {len(held) - 1} more cannot start"
        found.append(Need(f"held.{held[0]}", f"{who}: {reason}", f"orc doctor, or orc cancel {held[0]}"))
    return found


def _comes_by_itself(reason: str, ids: set[str]) -> bool:
    """Whether a held job waits for another open job, a date, a pause, or a base about which a card asks."""
    if reason.startswith(("starts at ", "pauses until ")) or "on its base already" in reason:
        return True
    return reason.startswith("needs ") and reason.removeprefix("needs ") in ids


def long_held(jobs: Iterable[Job], now: datetime) -> list[Need]:
    """Jobs that somebody has held for so long that a reminder is due."""
    found = []
    for job in jobs:
        wait = wait_of(job, now)
        if wait is not None and job.state is not State.DECIDE and wait.reminders:
            found.append(Need(f"held.{job.id}", f"{job.id} is {job.why}", f"orc release {job.id}", waits=wait))
    return found


def rejected_files(ws: Workspace) -> list[Need]:
    """Files that could not be accepted, until somebody takes them away; at most `SHOWN`."""
    folder = ws.paths.queue / Lane.REJECTED
    names = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
    found = []
    for name in [each for each in names if not each.endswith(WHY)][:SHOWN]:
        told = _text(folder / f"{name}{WHY}").partition("\n")[0].strip()
        way_out = f"mend queue/rejected/{name} and drop it again, or delete it"
        found.append(Need(f"rejected/{name}", told or "it could not be accepted", way_out))
    return found


def _text(path: Path) -> str:
    """What a small file of ours says; '' if it is not there or something else lies in its place."""
    try:
        return safe_read(path).data.decode("utf-8", "replace")
    except (OrcError, OSError):
        return ""
